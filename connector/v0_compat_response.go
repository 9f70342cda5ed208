package connector

import (
	"context"
	"fmt"
	"strings"
)

// respond sends the two response actions that v0 has. It takes one host at a time,
// by the name that the host gives itself, so that a name which two hosts have is
// refused here.
func (o *oldAPI) respond(ctx context.Context, k call, in value) (any, error) {
	kind := in.at("action").text() + " " + in.at("target").text()
	if kind != "delete file" && kind != "stop process" {
		return nil, fmt.Errorf("%s %s: %w: API v0 has no action %q", k.method, k.path, ErrUnavailable, clip(kind, 80))
	}
	targets := in.at("actuator_id").texts()
	if len(targets) != 1 {
		return nil, fmt.Errorf("%s %s: %w: API v0 acts on one host with one call", k.method, k.path, ErrInvalid)
	}
	name, err := o.nameOf(ctx, k, targets[0])
	if err != nil {
		return nil, err
	}
	var id string
	if kind == "delete file" {
		id, err = o.c.V0.DeleteFile(ctx, V0DeleteFile{Hostname: name, Path: in.at("file_name").text(), MD5: in.at("file_hash").text()})
	} else {
		id, err = o.c.V0.StopProcess(ctx, V0StopProcess{Hostname: name, Name: in.at("process_name").text(), PID: in.at("pid").id()})
	}
	return map[string]any{"command_id": id}, err
}

// nameOf is the name of a host, if no other host has it.
func (o *oldAPI) nameOf(ctx context.Context, k call, identifier string) (string, error) {
	all, err := o.allHosts(ctx)
	if err != nil {
		return "", before(k, err)
	}
	var name string
	count := map[string]int{}
	for _, v := range all {
		h := readHost(v)
		count[strings.ToLower(h.Name)]++
		if h.Identifier == identifier {
			name = h.Name
		}
	}
	switch {
	case name == "":
		return "", absentIn(k, "no host "+clip(identifier, 128)+" with a name")
	case count[strings.ToLower(name)] > 1:
		return "", fmt.Errorf("%s %s: %w: API v0 takes hosts by name, and %d are called %q", k.method, k.path, ErrInvalid, count[strings.ToLower(name)], clip(name, 128))
	}
	return name, nil
}
