package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"net/url"
	"os/exec"
	"strconv"
	"testing"

	"github.com/erbridge/erbridge/internal/testenv"
)

// languageServer is yaml-language-server, spoken to as an editor does: the Language
// Server Protocol, 3.17, over standard input and output.
type languageServer struct {
	*testing.T
	in      io.Writer
	out     *textproto.Reader
	id      int
	reports map[string][]diagnostic // the last ones, by URI
}

// diagnostic is a mistake that the server marks; lines count from 0.
type diagnostic struct {
	Range   struct{ Start struct{ Line int } }
	Message string
}

type message struct {
	ID     json.RawMessage `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
}

func startLanguageServer(t *testing.T) *languageServer {
	t.Helper()
	program := testenv.Need(t, "yaml-language-server")[0]
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "--stdio")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
	})
	s := &languageServer{T: t, in: in, out: textproto.NewReader(bufio.NewReader(out)), reports: map[string][]diagnostic{}}
	s.call("initialize", map[string]any{
		"processId": nil, "rootUri": nil, "capabilities": map[string]any{
			"workspace": map[string]any{"configuration": true},
			"textDocument": map[string]any{
				"completion": map[string]any{"completionItem": map[string]any{"snippetSupport": true, "documentationFormat": []string{"markdown"}}},
				"hover":      map[string]any{"contentFormat": []string{"markdown"}},
			},
		},
	}, nil)
	s.send(map[string]any{"method": "initialized", "params": map[string]any{}})
	return s
}

func (s *languageServer) send(m map[string]any) {
	s.Helper()
	m["jsonrpc"] = "2.0"
	data, err := json.Marshal(m)
	if err != nil {
		s.Fatal(err)
	}
	if _, err := fmt.Fprintf(s.in, "Content-Length: %d\r\n\r\n%s", len(data), data); err != nil {
		s.Fatal(err)
	}
}

// read takes one message and does what it asks for.
func (s *languageServer) read() message {
	s.Helper()
	header, err := s.out.ReadMIMEHeader()
	if err != nil {
		s.Fatal(err)
	}
	n, err := strconv.Atoi(header.Get("Content-Length"))
	if err != nil {
		s.Fatal(err)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(s.out.R, data); err != nil {
		s.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		s.Fatal(err)
	}
	switch {
	case m.Method == "textDocument/publishDiagnostics":
		var p struct {
			URI         string
			Diagnostics []diagnostic
		}
		if err := json.Unmarshal(m.Params, &p); err != nil {
			s.Fatal(err)
		}
		s.reports[p.URI] = p.Diagnostics
	case m.Method != "" && m.ID != nil: // it asks us
		s.send(map[string]any{"id": m.ID, "result": s.answer(&m)})
	}
	return m
}

// answer keeps the server from looking for schemas on the internet.
func (s *languageServer) answer(m *message) any {
	if m.Method != "workspace/configuration" {
		return nil
	}
	var p struct{ Items []struct{ Section string } }
	if err := json.Unmarshal(m.Params, &p); err != nil {
		s.Fatal(err)
	}
	answers := make([]any, len(p.Items))
	for i, item := range p.Items {
		answers[i] = map[string]any{}
		if item.Section == "yaml" {
			answers[i] = map[string]any{"validate": true, "completion": true, "hover": true, "schemaStore": map[string]any{"enable": false}}
		}
	}
	return answers
}

// call sends a request and waits for its result.
func (s *languageServer) call(method string, params, result any) {
	s.Helper()
	s.id++
	id := strconv.Itoa(s.id)
	s.send(map[string]any{"id": s.id, "method": method, "params": params})
	for {
		m := s.read()
		if m.Method != "" || string(m.ID) != id {
			continue
		}
		if m.Error != nil {
			s.Fatalf("%s: %s", method, m.Error)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				s.Fatal(err)
			}
		}
		return
	}
}

// open shows a file to the server and waits for what it says of it.
func (s *languageServer) open(path, text string) (uri string, found []diagnostic) {
	s.Helper()
	uri = (&url.URL{Scheme: "file", Path: path}).String()
	s.send(map[string]any{"method": "textDocument/didOpen", "params": map[string]any{
		"textDocument": map[string]any{"uri": uri, "languageId": "yaml", "version": 1, "text": text},
	}})
	for {
		if found, ok := s.reports[uri]; ok {
			return uri, found
		}
		s.read()
	}
}

// place is a position in an open file, counted from 0.
func place(uri string, line, character int) map[string]any {
	return map[string]any{"textDocument": map[string]any{"uri": uri}, "position": map[string]any{"line": line, "character": character}}
}

// proposal is what an editor offers to write.
type proposal struct {
	Label         string
	Documentation any // a text, or {kind, value}
}

// complete lists what the server proposes at a place.
func (s *languageServer) complete(uri string, line, character int) []proposal {
	s.Helper()
	var list struct{ Items []proposal }
	s.call("textDocument/completion", place(uri, line, character), &list)
	return list.Items
}

// hover is what the server says about a place.
func (s *languageServer) hover(uri string, line, character int) string {
	s.Helper()
	var said struct{ Contents struct{ Value string } }
	s.call("textDocument/hover", place(uri, line, character), &said)
	return said.Contents.Value
}
