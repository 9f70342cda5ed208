package connector

import (
	"context"
	"errors"
	"fmt"
)

// actuator is what carries response actions out on a host.
// API v0: response/add (guide of API v0, "Response").
const actuator = "polylogyx_vasp"

// Responses fetches all commands. Enterprise only.
// API v0: GET /response (guide of API v0, "Response").
func (s *V0Service) Responses(ctx context.Context) (Page[HostCommand], error) {
	return v0Page(ctx, s, callV0Response, nil, v0CommandRow)
}

func v0CommandRow(v value) (HostCommand, error) {
	h, err := hostCommandRow(v)
	if err == nil && h.CommandID == "" {
		err = errors.New("command without id")
	}
	return h, err
}

// Response fetches one command. ErrNotFound if there is none. Enterprise only.
// API v0: GET /response/{command_id} (guide of API v0, "Response").
func (s *V0Service) Response(ctx context.Context, commandID string) (HostCommand, error) {
	k, err := callV0ResponseGet.with(commandID)
	if err != nil {
		return HostCommand{}, err
	}
	return v0One(ctx, s, k, nil, v0CommandRow)
}

// V0DeleteFile deletes a file on a host. One of Path and MD5 is needed.
type V0DeleteFile struct {
	Hostname string // the name that the host gives itself, or its address
	Path     string
	MD5      string
}

// DeleteFile sends the command to delete a file and returns its id, empty if the
// server does not tell it. Enterprise only.
// API v0: POST /response/add (guide of API v0, "Response").
func (s *V0Service) DeleteFile(ctx context.Context, r V0DeleteFile) (commandID string, err error) {
	if r.Path == "" && r.MD5 == "" {
		return "", fmt.Errorf("delete file: %w: path or MD5 is needed", ErrInvalid)
	}
	file := map[string]any{}
	set(file, "name", r.Path)
	if r.MD5 != "" {
		file["hashes"] = map[string]any{"md5": r.MD5}
	}
	return s.command(ctx, callV0ResponseAddFile, "delete", "file", file, r.Hostname)
}

// V0StopProcess ends a process on a host. One of Name and PID is needed.
type V0StopProcess struct {
	Hostname string // the name that the host gives itself, or its address
	Name     string
	PID      int64
}

// StopProcess sends the command to end a process and returns its id, empty if the
// server does not tell it. Enterprise only.
// API v0: POST /response/add (guide of API v0, "Response").
func (s *V0Service) StopProcess(ctx context.Context, r V0StopProcess) (commandID string, err error) {
	if r.Name == "" && r.PID == 0 || r.PID < 0 || r.PID > 1<<32-1 {
		return "", fmt.Errorf("stop process: %w: a name or a process id above 0 is needed", ErrInvalid)
	}
	process := map[string]any{}
	set(process, "name", r.Name)
	if r.PID != 0 {
		process["pid"] = r.PID
	}
	return s.command(ctx, callV0ResponseAddProcess, "stop", "process", process, r.Hostname)
}

// command sends an action in the form of OpenC2.
func (s *V0Service) command(ctx context.Context, k call, action, target string, what map[string]any, hostname string) (string, error) {
	if hostname == "" {
		return "", fmt.Errorf("%s %s: %w", action, target, ErrEmptyTarget)
	}
	what["device"] = map[string]any{"hostname": hostname}
	in := map[string]any{
		"action":   action,
		"actuator": map[string]any{"endpoint": actuator},
		"target":   map[string]any{target: what},
	}
	var sent Command
	err := s.c.do(ctx, k, in, sent.read)
	return sent.CommandID, err
}
