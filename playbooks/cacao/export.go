package cacao

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// Export writes a playbook of ours, given by the source of a version of it, which must
// be one that loads. The result depends on that and the time only. Lists that stand in
// files of their own are written out.
//
// Each step becomes an action step with a manual command, since CACAO has no
// command that stands for an action of ours; the step itself is in the extension.
func Export(source []byte, at time.Time) ([]byte, error) {
	var book mapping
	documents := yaml.NewDecoder(bytes.NewReader(source))
	if err := documents.Decode(&book); err != nil {
		return nil, fmt.Errorf("cacao: read playbook: %w", err)
	}
	var held struct { // what the files of lists held
		Files map[string][]any `yaml:"files"`
	}
	if err := documents.Decode(&held); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cacao: read the lists of a playbook: %w", err)
	}
	lists, _ := book["lists"].(mapping)
	for name, list := range lists {
		if file, ok := list.(mapping); ok {
			lists[name] = held.Files[text(file["file"])]
		}
	}
	x := &exporter{
		name: text(book["playbook"]),
		out: &Playbook{
			Type: "playbook", SpecVersion: specVersion, Name: text(book["playbook"]), Description: text(book["description"]),
			CreatedBy: authorID, Workflow: map[string]*Step{}, PlaybookVariables: map[string]Variable{},
			AgentDefinitions: map[string]Agent{teamID: {Type: "group", Name: "security operations"}},
			ExtensionDefinitions: map[string]ExtensionDefinition{extensionID: {
				Type: "extension-definition", Name: "erbridge", Description: "Keys of a playbook of erbridge and its steps, as they stand in its YAML.",
				CreatedBy: authorID, Schema: projectURL + "/blob/main/docs/reference/playbook.schema.json", Version: "1.0.0",
			}},
		},
	}
	x.out.ID = identifier("playbook", x.name)
	x.out.Created = at.UTC().Format("2006-01-02T15:04:05.000Z")
	x.out.Modified = x.out.Created
	for _, technique := range list(book["attack"]) {
		id := text(technique)
		x.out.ExternalReferences = append(x.out.ExternalReferences, Reference{
			Name: "MITRE ATT&CK", ExternalID: id, URL: "https://attack.mitre.org/techniques/" + strings.ReplaceAll(id, ".", "/") + "/",
		})
	}
	if err := x.book(book); err != nil {
		return nil, fmt.Errorf("cacao: %s: %w", x.name, err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(x.out); err != nil {
		return nil, fmt.Errorf("cacao: %s: %w", x.name, err)
	}
	return b.Bytes(), nil
}

// variableName is what stands between the underscores of a variable (section 10.18).
var variableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,199}$`)

type exporter struct {
	name string
	out  *Playbook
	err  error
}

// way is where the workflow goes on after a step.
type way struct{ next, failed string }

func (x *exporter) book(book mapping) error {
	end := x.add(typeEnd, "end", &Step{Name: "end"})
	last := end
	head := maps.Clone(book)
	delete(head, "steps")
	delete(head, "enrich")
	if finally := list(book["finally"]); len(finally) > 0 {
		last = x.steps(finally, "finally", way{end, end})
		head["finally"] = last
	}
	first := x.steps(list(book["steps"]), "steps", way{last, last})
	enrich, _ := book["enrich"].(mapping)
	for _, name := range slices.Backward(keysOf(enrich, nil)) {
		e, _ := enrich[name].(mapping)
		keys := maps.Clone(e)
		keys["enrich"] = name
		first = x.add(typeAction, "enrich/"+name, &Step{
			Name: "read " + name, OnCompletion: first, Commands: manual(e), Agent: teamID, StepExtensions: x.extension("step", keys),
		})
	}
	x.out.WorkflowStart = x.add(typeStart, "start", &Step{Name: "start", Description: matchWords(book["match"]), OnCompletion: first})
	vars, _ := book["vars"].(mapping)
	for name, value := range vars {
		if variableName.MatchString(name) { // the others are in the extension only
			x.out.PlaybookVariables["__"+name+"__"] = variable(value)
		}
	}
	x.out.PlaybookExtensions = x.extension("playbook", head)
	return x.err
}

// add puts a step into the workflow and returns its id.
func (x *exporter) add(kind, path string, s *Step) string {
	s.Type = kind
	id := identifier(kind, x.name+"/"+path)
	x.out.Workflow[id] = s
	return id
}

// extension holds keys of ours below one name: CACAO allows none of less than three
// letters beside it (section 8).
func (x *exporter) extension(name string, keys mapping) map[string]json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(mapping{name: keys}); err != nil && x.err == nil {
		x.err = err
	}
	return map[string]json.RawMessage{extensionID: b.Bytes()}
}

// steps writes steps that follow each other and returns the id of the first.
func (x *exporter) steps(steps []any, path string, w way) string {
	for i, item := range slices.Backward(steps) {
		step, _ := item.(mapping)
		w.next = x.step(step, path+"/"+strconv.Itoa(i), w)
	}
	return w.next
}

// step writes one step. What stands in an if, in a loop or in a branch ends with an
// end step of its own, and the workflow goes on behind what it stands in.
func (x *exporter) step(step mapping, path string, w way) string {
	carryOn := text(step["on_error"]) == "continue"
	wrappers := []string(nil)
	if step["if"] != nil {
		wrappers = append(wrappers, "if")
	}
	if step["for_each"] != nil {
		wrappers = append(wrappers, "for_each")
	}
	outer := w
	if len(wrappers) > 0 {
		end := x.add(typeEnd, path+"/end", &Step{Name: "end"})
		w = way{end, end}
	}
	id := x.core(step, path, w, carryOn)
	for i, key := range slices.Backward(wrappers) {
		kind, title := typeIf, "if"
		if key == "for_each" {
			kind, title = typeWhile, "for each"
		}
		name := stepTitle(step)
		variable := "__" + key + "_" + strings.ReplaceAll(strings.TrimPrefix(path, "steps/"), "/", "_") + "__"
		x.out.PlaybookVariables[variable] = Variable{Type: "bool", Description: "jq: " + text(step[key])}
		s := &Step{
			Name: title + " " + text(step[key]), Condition: variable + ":value = 'true'", OnTrue: id,
			StepExtensions: x.extension("around", mapping{"step": name}),
		}
		if i > 0 { // a loop inside an if
			s.OnCompletion = w.next
		} else {
			flow(s, outer, carryOn)
		}
		id = x.add(kind, path+"/"+key, s)
	}
	return id
}

// core writes what a step does, without its if and for_each.
func (x *exporter) core(step mapping, path string, w way, carryOn bool) string {
	keys := maps.Clone(step)
	handlers := list(step["on_error"])
	if len(handlers) > 0 {
		delete(keys, "on_error")
		w.failed = x.steps(handlers, path+"/on_error", way{w.failed, w.failed})
	}
	s := &Step{Name: stepTitle(step)}
	if d, err := registry.ParseDuration(text(step["timeout"])); err == nil {
		s.Timeout = d.Milliseconds()
	}
	flow(s, w, carryOn)
	kind := typeAction
	switch {
	case step["parallel"] != nil:
		kind = typeParallel
		delete(keys, "parallel")
		for i, branch := range list(step["parallel"]) {
			inside := path + "/branch" + strconv.Itoa(i+1)
			end := x.add(typeEnd, inside+"/end", &Step{Name: "end"})
			steps, several := branch.([]any)
			if !several {
				steps = []any{branch}
			}
			s.NextSteps = append(s.NextSteps, x.steps(steps, inside, way{end, end}))
		}
		for len(s.NextSteps) < 2 { // section 4.8: at least two
			inside := path + "/branch" + strconv.Itoa(len(s.NextSteps)+1)
			s.NextSteps = append(s.NextSteps, x.add(typeEnd, inside+"/end", &Step{Name: "end"}))
		}
	case called(step) != "":
		kind = typePlaybook
		s.PlaybookID = identifier("playbook", called(step))
	default:
		s.Commands, s.Agent = manual(step), teamID
	}
	s.StepExtensions = x.extension("step", keys)
	return x.add(kind, path, s)
}

// flow says where it goes on after a step. on_completion excludes the other two
// (section 4.1).
func flow(s *Step, w way, carryOn bool) {
	if carryOn || w.next == w.failed {
		s.OnCompletion = w.next
		return
	}
	s.OnSuccess, s.OnFailure = w.next, w.failed
}

// callAction is the action that stands for the key call.
const callAction = "playbook.call"

// called is the playbook that a step calls, by its key or by the action; empty when it
// calls none.
func called(step mapping) string {
	if with, ok := step["with"].(mapping); ok && text(step["do"]) == callAction {
		return text(with["playbook"])
	}
	return text(step["call"])
}

func stepTitle(step mapping) string {
	for _, key := range []string{"id", "do", "call"} {
		if name := text(step[key]); name != "" {
			return name
		}
	}
	return "side by side"
}

// manual is a command for a person that tells what erbridge does.
func manual(step mapping) []Command {
	words := text(step["do"])
	if with, ok := step["with"].(mapping); ok && len(with) > 0 {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(with) == nil {
			words += " " + strings.TrimSpace(b.String())
		}
	}
	return []Command{{Type: "manual", Command: words}}
}

// matchWords tells which alerts a playbook is about.
func matchWords(match any) string {
	m, _ := match.(mapping)
	var words []string
	for _, block := range []string{"all", "any", "none"} {
		for _, item := range list(m[block]) {
			condition, _ := item.(mapping)
			for name := range condition {
				words = append(words, block+": "+name)
			}
		}
	}
	return strings.Join(words, "\n")
}

func variable(value any) Variable {
	v := Variable{Constant: true}
	switch value := value.(type) {
	case string:
		v.Type, v.Value = "string", value
	case bool:
		v.Type, v.Value = "bool", strconv.FormatBool(value)
	case int:
		v.Type, v.Value = "integer", strconv.Itoa(value)
	case float64:
		v.Type, v.Value = "float", strconv.FormatFloat(value, 'g', -1, 64)
	default:
		v.Type = "dictionary"
		if data, err := json.Marshal(value); err == nil {
			v.Value = string(data)
		}
	}
	return v
}
