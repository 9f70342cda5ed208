package ersim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// capture is an exchange with a community server of release 2.1.2.
type capture struct {
	method, path, contentType string
	token                     bool
	body                      string
	status                    int
	answerType                string
	answer                    string
}

func readCapture(t *testing.T, name string) capture {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	request, response, ok := strings.Cut(strings.TrimPrefix(string(raw), "### REQUEST\n"), "### RESPONSE\n")
	if !ok {
		t.Fatalf("%s is not a capture", name)
	}
	var c capture
	head, body, _ := strings.Cut(request, "\n\n")
	c.body = strings.TrimSpace(body)
	for i, line := range strings.Split(head, "\n") {
		if i == 0 {
			parts := strings.Fields(line)
			c.method, c.path = parts[0], parts[1]
		}
		if value, ok := strings.CutPrefix(line, "Content-Type: "); ok {
			c.contentType = value
		}
		c.token = c.token || line == "x-access-token: <token>"
	}
	head, c.answer, _ = strings.Cut(response, "\n\n")
	for i, line := range strings.Split(head, "\n") {
		if i == 0 {
			c.status, err = strconv.Atoi(strings.Fields(line)[1])
			if err != nil {
				t.Fatal(err)
			}
		}
		if value, ok := strings.CutPrefix(line, "Content-Type: "); ok {
			c.answerType = value
		}
	}
	return c
}

// free are keys whose content depends on the host, the event, the rule or the feed.
var free = []string{
	"alerted_entry", "message", "columns", "os_info", "network_info", "host_details", "conditions", "intel_data", "source_data",
	"tags", "description", "recon_queries",
}

// shape names the keys of an answer, sorted, with the kind of each value. Free
// content is reduced to its key.
func shape(v any, key string) string {
	switch v := v.(type) {
	case obj:
		if slices.Contains(free, key) {
			return "..."
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, name+":"+shape(v[name], name))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case []any:
		if slices.Contains(free, key) {
			return "..."
		}
		kinds := map[string]bool{}
		for _, element := range v {
			kinds[shape(element, "")] = true
		}
		return "[" + strings.Join(slices.Sorted(maps.Keys(kinds)), " | ") + "]"
	case nil:
		if !slices.Contains(free, key) {
			return "null"
		}
	}
	if slices.Contains(free, key) && key != "message" {
		return "..."
	}
	return fmt.Sprintf("%T", v)
}

// likeCaptured builds the state that the captures were taken from: host 1 with
// Windows, host 3 with Linux, alerts 1 to 5 of the same sources in the same order.
func likeCaptured(t *testing.T) *rig {
	r := newRig(t, Options{Profile: "2.1.2", Seed: 7, Hosts: 3})
	raiseLikeCaptured(r.s)
	return r
}

func raiseLikeCaptured(s *Server) {
	win, linux := s.hosts[0].identifier, s.hosts[2].identifier
	s.SetTags(win, "finance")
	s.SetTags(linux, "web")
	socket := map[string]string{"action": "connect", "remote_address": "203.0.113.66", "pid": "77"}
	for range 3 {
		s.Raise(AlertSpec{Host: win, Rule: "Credential dumping"})
	}
	for range 2 {
		s.Raise(AlertSpec{Host: linux, Source: "ioc", Columns: socket})
	}
	s.Raise(AlertSpec{Host: linux, Rule: "C2 beacon", Severity: "INFO", Columns: socket})
	s.Raise(AlertSpec{Host: win, Source: "virustotal", Intel: map[string]any{"total": 70}})
	s.Raise(AlertSpec{Host: win, Rule: "Run key written"})
	s.Raise(AlertSpec{Host: win, Rule: "Boot recovery disabled"})
}

// TestCaptures makes the calls of the captures and compares what comes back: the
// status, the kind of content, and the keys.
func TestCaptures(t *testing.T) {
	files, err := filepath.Glob("testdata/2.1.2/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no captures", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			c := readCapture(t, name)
			r := likeCaptured(t)
			prepareHosts(r, filepath.Base(name))
			prepareSearch(r.s, filepath.Base(name))
			replace := strings.NewReplacer(
				"EC2A1111-0000-0000-0000-00000000000A", r.s.hosts[0].identifier,
				"EC2B2222-0000-0000-0000-00000000000B", r.s.hosts[2].identifier,
				"A7NSDDG5NN", prepareCarve(r, filepath.Base(name)),
				`"query_id": "19"`, `"query_id": "1"`, `"rule_id": 2`, `"rule_id": 13`,
			)
			req := httptest.NewRequestWithContext(t.Context(), c.method, replace.Replace(c.path), bytes.NewBufferString(replace.Replace(c.body)))
			if c.contentType != "" {
				req.Header.Set("Content-Type", c.contentType)
			}
			if c.token {
				req.Header.Set("x-access-token", r.token)
			}
			w := httptest.NewRecorder()
			r.s.ServeHTTP(w, req)
			if w.Code != c.status || w.Header().Get("Content-Type") != c.answerType {
				t.Fatalf("got %d %s, want %d %s: %s", w.Code, w.Header().Get("Content-Type"), c.status, c.answerType, w.Body)
			}
			if c.answerType != typeJSON {
				if got := strings.TrimSpace(w.Body.String()); got != strings.TrimSpace(c.answer) {
					t.Errorf("got %q, want %q", got, c.answer)
				}
				return
			}
			var got, want any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(c.answer), &want); err != nil {
				t.Fatal(err)
			}
			if g, w := shape(got, ""), shape(want, ""); g != w {
				t.Errorf("shape\n got %s\nwant %s", g, w)
			}
		})
	}
}

// prepareCarve starts the carve that carve captures speak of and returns its session.
func prepareCarve(r *rig, name string) string {
	if !strings.HasPrefix(name, "carves_") || strings.Contains(name, "not_started") || strings.Contains(name, "again") {
		return "A7NSDDG5NN"
	}
	linux := r.s.hosts[2].identifier
	r.data("POST", "/distributed/add", obj{"query": "select * from carves where path='/etc/passwd' and carve=1;", "nodes": linux})
	for len(r.s.Carves()) == 0 {
		r.wait(10 * time.Millisecond)
	}
	if !strings.Contains(name, "in_progress") {
		r.wait(time.Minute)
	}
	return r.s.Carves()[0].SessionID
}
