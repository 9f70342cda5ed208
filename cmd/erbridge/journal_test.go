package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

func TestJournalInWords(t *testing.T) {
	long := strings.Repeat("no route to host ", 40) + "the end"
	for _, tt := range []struct {
		name, kind, ref, body, want string
	}{
		{"intent", "intent", "", `{"action": "process.kill", "with": {"pid": 4711, "name": "a b.exe", "host": "EC2A", "force": true}, "attempt": 1}`,
			`process.kill force=true host=EC2A name="a b.exe" pid=4711`},
		{"intent again", "intent", "", `{"action": "host.contain", "with": {"text": "x=y\nz"}, "attempt": 2}`, `host.contain text="x=y\nz" (attempt 2)`},
		{"sent", "sent", "2c92", `{"target": "EC2A", "summary": "stopping x"}`, `command 2c92, stopping x, target EC2A`},
		{"sent and found", "sent", "2c92", `{"found": true}`, `command 2c92, found by looking it up, after the answer was lost`},
		{"result", "result", "", `{"action": "process.kill", "state": "failed", "summary": "stop x", "error": "` + long + `", "target": "EC2A"}`,
			`failed: stop x: ` + long + `; target EC2A`},
		{"observed", "result", "", `{"action": "host.contain", "state": "observed", "summary": "observe: held", "with": {"host": "EC2A"}}`,
			`observed: observe: held; the call was to be host.contain host=EC2A`},
		{"guard", "decision", "", `{"answers": [{"check": "mode", "ok": true, "words": "enforce: all"}, {"check": "protected", "words": "EC2A is protected"}]}`,
			`mode: enforce: all; protected: EC2A is protected`},
		{"person", "decision", "", `{"by": "soc", "reason": "seen", "happened": false}`, `soc says that it did not happen: seen`},
		{"note", "note", "", `{"text": "trying again", "error": "status 503", "retry": 2}`, `trying again: status 503; attempt 2 follows`},
		{"look-ups", "note", "", `{"text": "began", "enrich_errors": {"intel": "status 500"}}`, `began; look-ups that failed: intel="status 500"`},
		{"items", "note", "", `{"text": "for each of 2 items", "begun": "for_each", "items": ["a b", 7]}`, `for each of 2 items; items=["a b",7]`},
		{"call", "note", "", `{"text": "playbook q", "begun": "call", "vars": {"what": "x", "n": 1}, "enrich_errors": {"y": "late"}}`,
			`playbook q; n=1 what=x; look-ups that failed: y=late`},
		{"branches", "note", "", `{"text": "2 branches side by side", "begun": "parallel"}`, `2 branches side by side`},
		{"versions", "note", "", `{"text": "read before the start", "calls": {"r": "0123456789abcdef", "q": "abc"}}`,
			`read before the start; it may call q (abc), r (0123456789a…)`},
		{"of a later release", "verdict", "", `{"a": [1]}`, `{"a":[1]}`},
		{"hostile", "intent", "", `{"action": "alert.note", "with": {"text": "\u001b[2J"}}`, `alert.note text=\x1b[2J`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			at := time.Date(2026, 11, 22, 5, 30, 33, 0, time.UTC)
			entry := soar.Entry{At: at, Step: "stop", Kind: soar.EntryKind(tt.kind), Ref: tt.ref, Body: json.RawMessage(tt.body)}
			if err := printJournal(&out, []soar.Entry{entry}); err != nil {
				t.Fatal(err)
			}
			_, line, _ := strings.Cut(out.String(), "\n")
			if !strings.HasPrefix(line, "05:30:33.000  stop  "+tt.kind) || !strings.HasSuffix(line, "  "+tt.want+"\n") {
				t.Errorf("got  %s\nwant it to end with %s", line, tt.want)
			}
		})
	}
}

func TestArgumentsOnATerminal(t *testing.T) {
	if got := arguments(map[string]any{"text": strings.Repeat("x", 900)}, 40); len([]rune(got)) != 40 || !strings.HasSuffix(got, "…") {
		t.Errorf("arguments: %s", got)
	}
}
