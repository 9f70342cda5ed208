// Package cacao reads and writes CACAO Security Playbooks, the exchange format of
// OASIS. Import makes a playbook of ours out of one, in observe mode, and tells for
// each step what became of it; Export is the way back. What CACAO has no words for
// (conditions on alerts, arguments of actions) travels in an extension, so that a
// playbook which was exported comes back as it was.
//
// CACAO Security Playbooks Version 2.0, OASIS Committee Specification 01.
package cacao

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
)

// Playbook is a CACAO playbook, as far as we read and write it (section 3.1).
type Playbook struct {
	Type                 string                         `json:"type"`
	SpecVersion          string                         `json:"spec_version"`
	ID                   string                         `json:"id"`
	Name                 string                         `json:"name"`
	Description          string                         `json:"description,omitempty"`
	CreatedBy            string                         `json:"created_by"`
	Created              string                         `json:"created"`
	Modified             string                         `json:"modified"`
	ExternalReferences   []Reference                    `json:"external_references,omitempty"`
	PlaybookVariables    map[string]Variable            `json:"playbook_variables,omitempty"`
	WorkflowStart        string                         `json:"workflow_start"`
	WorkflowException    string                         `json:"workflow_exception,omitempty"`
	Workflow             map[string]*Step               `json:"workflow"`
	PlaybookExtensions   map[string]json.RawMessage     `json:"playbook_extensions,omitempty"`
	AgentDefinitions     map[string]Agent               `json:"agent_definitions,omitempty"`
	TargetDefinitions    map[string]Agent               `json:"target_definitions,omitempty"`
	ExtensionDefinitions map[string]ExtensionDefinition `json:"extension_definitions,omitempty"`

	// These are only read.
	Revoked    bool              `json:"revoked,omitempty"`
	ValidUntil string            `json:"valid_until,omitempty"`
	Markings   []string          `json:"markings,omitempty"`
	Signatures []json.RawMessage `json:"signatures,omitempty"`
}

// Step is a step of a workflow of any type (section 4); which properties count
// depends on Type.
type Step struct {
	Type           string                     `json:"type"`
	Name           string                     `json:"name,omitempty"`
	Description    string                     `json:"description,omitempty"`
	Delay          int64                      `json:"delay,omitempty"`   // milliseconds
	Timeout        int64                      `json:"timeout,omitempty"` // milliseconds
	StepVariables  map[string]Variable        `json:"step_variables,omitempty"`
	OnCompletion   string                     `json:"on_completion,omitempty"`
	OnSuccess      string                     `json:"on_success,omitempty"`
	OnFailure      string                     `json:"on_failure,omitempty"`
	Commands       []Command                  `json:"commands,omitempty"`
	Agent          string                     `json:"agent,omitempty"`
	Targets        []string                   `json:"targets,omitempty"`
	InArgs         []string                   `json:"in_args,omitempty"`
	OutArgs        []string                   `json:"out_args,omitempty"`
	PlaybookID     string                     `json:"playbook_id,omitempty"`
	NextSteps      []string                   `json:"next_steps,omitempty"`
	Condition      string                     `json:"condition,omitempty"`
	OnTrue         string                     `json:"on_true,omitempty"`
	OnFalse        string                     `json:"on_false,omitempty"`
	Switch         string                     `json:"switch,omitempty"`
	Cases          map[string]string          `json:"cases,omitempty"`
	StepExtensions map[string]json.RawMessage `json:"step_extensions,omitempty"`
}

// The types of steps.
const (
	typeStart    = "start"
	typeEnd      = "end"
	typeAction   = "action"
	typePlaybook = "playbook-action"
	typeParallel = "parallel"
	typeIf       = "if-condition"
	typeWhile    = "while-condition"
	typeSwitch   = "switch-condition"
)

// Command is what an action step does (section 5).
type Command struct {
	Type        string              `json:"type"`
	Description string              `json:"description,omitempty"`
	Command     string              `json:"command,omitempty"`
	CommandB64  string              `json:"command_b64,omitempty"`
	Headers     map[string][]string `json:"headers,omitempty"`
	Content     string              `json:"content,omitempty"`
	ContentB64  string              `json:"content_b64,omitempty"`
}

// Agent is who carries out commands, or what they are about (section 7).
type Agent struct {
	Type    string              `json:"type"`
	Name    string              `json:"name,omitempty"`
	Address map[string][]string `json:"address,omitempty"`
}

// Variable is a variable of a playbook or a step (section 10.18).
type Variable struct {
	Type        string `json:"type"`
	Description string `json:"description,omitempty"`
	Value       any    `json:"value,omitempty"`
	Constant    bool   `json:"constant,omitempty"`
	External    bool   `json:"external,omitempty"`
}

// Reference points to something outside (section 10.6).
type Reference struct {
	Name       string `json:"name"`
	ExternalID string `json:"external_id,omitempty"`
	URL        string `json:"url,omitempty"`
}

// ExtensionDefinition says what stands in an extension (section 8).
type ExtensionDefinition struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	CreatedBy   string `json:"created_by"`
	Schema      string `json:"schema"`
	Version     string `json:"version"`
}

const (
	specVersion = "cacao-2.0"
	projectURL  = "https://github.com/erbridge/erbridge"
)

// The ids of what is the same in every playbook that we write.
var (
	namespace   = nameUUID([16]byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}, projectURL, 5) // RFC 9562, section 6.6: URLs
	extensionID = identifier("extension-definition", "steps")
	authorID    = identifier("identity", "author")
	teamID      = identifier("group", "security operations")
)

// identifier is the id of a thing, the same for the same name. Steps must have a UUID
// of version 4, and all other things but playbooks should (section 10.10): that one is
// made of pseudo-random bits, which here come out of the name.
func identifier(kind, name string) string {
	version := byte(4)
	if kind == "playbook" {
		version = 5
	}
	id := nameUUID(namespace, kind+"/"+name, version)
	text := hex.EncodeToString(id[:])
	return kind + "--" + text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// nameUUID makes a UUID of a name, as RFC 9562 does in section 5.5 for version 5.
func nameUUID(space [16]byte, name string, version byte) (id [16]byte) {
	h := sha1.New()
	h.Write(space[:])
	h.Write([]byte(name))
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | version<<4
	id[8] = id[8]&0x3f | 0x80
	return id
}
