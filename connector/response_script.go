package connector

import (
	"context"
	"fmt"
	"strconv"
)

// ScriptKind is the interpreter of a script.
type ScriptKind int

// The script kinds. The guide of release 2.x has 3 for shell scripts.
const (
	ScriptBat        ScriptKind = 1
	ScriptPowerShell ScriptKind = 2
	ScriptShell      ScriptKind = 4
)

// Script is a script to run on hosts. One of Content and File is needed. The
// vendor's console takes ASCII only.
type Script struct {
	// Hosts (identifiers), Tags and OSNames choose the hosts, added up.
	Hosts, Tags, OSNames []string
	Content              string
	File                 Upload
	Kind                 ScriptKind
	Params               string
	Name                 string
	Save                 bool // keep the script on the server
}

// RunScript sends a script to hosts; its output will be the Output of View.
// API: POST /response/custom-action (REST guide 4.0.0, "Initiate a custom action").
func (s *ResponsesService) RunScript(ctx context.Context, r Script) (cmd Command, err error) {
	in := map[string]any{}
	if err := (target{r.Hosts, r.Tags, r.OSNames}).write(in, "run script", "host_identifier"); err != nil {
		return cmd, err
	}
	sent, err := r.body("run script", in)
	if err != nil {
		return cmd, err
	}
	err = s.c.do(ctx, callResponseCustomAction, sent, cmd.read)
	return cmd, err
}

// body adds the script to the arguments and makes the body of the call: JSON with
// a content, multipart with a file.
func (r *Script) body(call string, in map[string]any) (any, error) {
	if r.Kind == 0 {
		return nil, fmt.Errorf("%s: %w: the kind is missing", call, ErrInvalid)
	}
	if err := inSet(call, "kind", r.Kind, ScriptBat, ScriptPowerShell, ScriptShell); err != nil {
		return nil, err
	}
	hasFile := r.File.Name != "" || len(r.File.Content) > 0
	switch {
	case r.Content == "" && !hasFile:
		return nil, fmt.Errorf("%s: %w: the script is empty", call, ErrInvalid)
	case r.Content != "" && hasFile:
		return nil, fmt.Errorf("%s: %w: content and file exclude each other", call, ErrInvalid)
	}
	in["file_type"] = strconv.Itoa(int(r.Kind)) // text in every example of the guide
	in["save_script"] = strconv.FormatBool(r.Save)
	set(in, "params", r.Params)
	set(in, "script_name", r.Name)
	if !hasFile {
		in["content"] = r.Content
		return in, nil
	}
	fields := make(map[string]string, len(in))
	for name := range in {
		fields[name], _ = in[name].(string) // all of them are
	}
	return multipartBody(r.File, fields)
}

// LiveScript is a script to run on one host while its output is listened to.
type LiveScript struct {
	Host string // identifier
	// Content or File, Kind, Params, Name and Save are those of a Script.
	Content string
	File    Upload
	Kind    ScriptKind
	Params  string
	Name    string
	Save    bool
}

// Live runs a script on a host. Its output comes from LiveOutput while it runs, and
// from Get and View afterwards.
// API: POST /response/live_response (REST guide 4.0.0, "Initiate a live response
// action").
func (s *ResponsesService) Live(ctx context.Context, r LiveScript) (cmd Command, err error) {
	host, err := commaList("live response", []string{r.Host})
	if err != nil {
		return cmd, err
	}
	script := Script{Content: r.Content, File: r.File, Kind: r.Kind, Params: r.Params, Name: r.Name, Save: r.Save}
	sent, err := script.body("live response", map[string]any{"host_identifier": host})
	if err != nil {
		return cmd, err
	}
	err = s.c.do(ctx, callResponseLive, sent, cmd.read)
	if err == nil && cmd == (Command{}) {
		// It runs, and nothing is left to find it by.
		err = lacking(callResponseLive, "the answer holds no id")
	}
	return cmd, err
}
