package connector

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// DeleteFile deletes a file on hosts. One of Path and MD5 is needed.
type DeleteFile struct {
	// Hosts (identifiers), Tags and OSNames choose the hosts, added up.
	Hosts, Tags, OSNames []string
	Path                 string
	MD5                  string // 32 hex digits
}

// DeleteFile sends the action to delete a file.
// API: POST /response/add (REST guide 4.0.0, "Initiate a response action").
func (s *ResponsesService) DeleteFile(ctx context.Context, r DeleteFile) (Command, error) {
	if r.Path == "" && r.MD5 == "" {
		return Command{}, fmt.Errorf("delete file: %w: path or MD5 is needed", ErrInvalid)
	}
	if digest, err := hex.DecodeString(r.MD5); r.MD5 != "" && (err != nil || len(digest) != md5.Size) {
		return Command{}, fmt.Errorf("delete file: %w: MD5 %q is not of 32 hex digits", ErrInvalid, clip(r.MD5, 80))
	}
	in := map[string]any{"target": "file", "action": "delete"}
	set(in, "file_name", r.Path)
	set(in, "file_hash", r.MD5)
	return s.add(ctx, target{r.Hosts, r.Tags, r.OSNames}, in)
}

// StopProcess ends a process on hosts. One of Name and PID is needed; with both,
// both must fit. The guide does not say whether Name is the file's name or its
// path; its example has a name.
type StopProcess struct {
	// Hosts (identifiers), Tags and OSNames choose the hosts, added up.
	Hosts, Tags, OSNames []string
	Name                 string
	PID                  string
}

// StopProcess sends the action to end a process.
// API: POST /response/add (REST guide 4.0.0, "Initiate a response action").
func (s *ResponsesService) StopProcess(ctx context.Context, r StopProcess) (Command, error) {
	if r.Name == "" && r.PID == "" {
		return Command{}, fmt.Errorf("stop process: %w: name or pid is needed", ErrInvalid)
	}
	if r.PID != "" {
		if n, err := strconv.ParseUint(r.PID, 10, 32); err != nil || n == 0 {
			return Command{}, fmt.Errorf("stop process: %w: pid %q is not a process id", ErrInvalid, clip(r.PID, 32))
		}
	}
	in := map[string]any{"target": "process", "action": "stop"}
	set(in, "process_name", r.Name)
	set(in, "pid", r.PID)
	return s.add(ctx, target{r.Hosts, r.Tags, r.OSNames}, in)
}

// FirewallRule is a Windows firewall rule that cuts hosts off from DstAddr, or
// from everything where DstAddr is empty. Empty fields mean any.
type FirewallRule struct {
	// Hosts (identifiers), Tags and OSNames choose the hosts, added up.
	Hosts, Tags, OSNames             []string
	RuleName, RuleGroup, Description string
	SrcPort, DstPort                 string // a port or a range
	DstAddr                          string
	Application                      string
	Direction                        string // "1" in, "2" out; empty is "1"
	Protocol                         string // "6" TCP, "17" UDP, "256" or "2" any; empty is "256"
}

// protocolAny is what the Windows firewall calls any protocol. The guide's table
// says 2, its example 256; 2 is IGMP in every other table of protocols.
const protocolAny = "256"

// Contain adds a firewall rule to hosts. Windows only.
// API: POST /response/add (REST guide 4.0.0, "Initiate a response action").
func (s *ResponsesService) Contain(ctx context.Context, r FirewallRule) (Command, error) {
	if r.RuleName == "" {
		return Command{}, fmt.Errorf("contain: %w: rule name is needed", ErrInvalid)
	}
	err := errors.Join(
		inSet("contain", "direction", r.Direction, "1", "2"),
		inSet("contain", "protocol", r.Protocol, "2", "6", "17", protocolAny),
		ports("contain", "source port", r.SrcPort),
		ports("contain", "destination port", r.DstPort),
	)
	if err != nil {
		return Command{}, err
	}
	// All of these are documented as required, empty ones included.
	return s.add(ctx, target{r.Hosts, r.Tags, r.OSNames}, map[string]any{
		"target": "ip_connection", "action": "contain",
		"rule_name": r.RuleName, "rule_group": r.RuleGroup, "rule_description": r.Description,
		"src_port": r.SrcPort, "dst_port": r.DstPort, "dst_addr": r.DstAddr, "application": r.Application,
		"direction": cmp.Or(r.Direction, "1"), "layer4_protocol": cmp.Or(r.Protocol, protocolAny),
	})
}

// ports refuses what is neither a port nor a range of them.
func ports(call, argument, text string) error {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if text == "" || err == nil && err2 == nil && from <= to {
		return nil
	}
	return fmt.Errorf("%s: %w: %s %q is neither a port nor a range such as 135-139", call, ErrInvalid, argument, clip(text, 80))
}

// FirewallRelease names a firewall rule to remove.
type FirewallRelease struct {
	// Hosts (identifiers), Tags and OSNames choose the hosts, added up.
	Hosts, Tags, OSNames []string
	RuleName             string
}

// RemoveRule removes a firewall rule from hosts. Windows only.
// API: POST /response/add (REST guide 4.0.0, "Initiate a response action").
func (s *ResponsesService) RemoveRule(ctx context.Context, r FirewallRelease) (Command, error) {
	if r.RuleName == "" {
		return Command{}, fmt.Errorf("release: %w: rule name is needed", ErrInvalid)
	}
	in := map[string]any{"target": "ip_connection", "action": "delete", "rule_name": r.RuleName}
	return s.add(ctx, target{r.Hosts, r.Tags, r.OSNames}, in)
}

// Release is RemoveRule on hosts by identifier.
// API: POST /response/add (REST guide 4.0.0, "Initiate a response action").
func (s *ResponsesService) Release(ctx context.Context, hosts []string, ruleName string) (Command, error) {
	return s.RemoveRule(ctx, FirewallRelease{Hosts: hosts, RuleName: ruleName})
}

func (s *ResponsesService) add(ctx context.Context, t target, in map[string]any) (cmd Command, err error) {
	if err = t.write(in, "response action", "actuator_id"); err != nil {
		return cmd, err
	}
	err = s.c.do(ctx, callResponseAdd, in, cmd.read)
	return cmd, err
}

// target is who an action is for.
type target struct{ hosts, tags, osNames []string }

// write writes the target as the server wants it: all three as comma text, the hosts
// under key, which must be there.
func (t target) write(in map[string]any, call, key string) error {
	if len(t.hosts)+len(t.tags)+len(t.osNames) == 0 {
		return fmt.Errorf("%s: %w", call, ErrEmptyTarget)
	}
	in[key] = ""
	for _, some := range []struct {
		key  string
		list []string
	}{{key, t.hosts}, {"tags", t.tags}, {"os_name", t.osNames}} {
		if len(some.list) == 0 {
			continue
		}
		text, err := commaList(call, some.list)
		if err != nil {
			return err
		}
		in[some.key] = text
	}
	return nil
}
