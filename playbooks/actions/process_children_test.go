package actions

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// started makes a process that starts others: ROOT starts A and B, A starts C, and C
// says that it has started ROOT.
func (b *bench) started(h ersim.HostState) {
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i, p := range []struct{ parent, guid string }{{"ROOT", "A"}, {"ROOT", "B"}, {"A", "C"}, {"C", "ROOT"}} {
		at := start.Add(time.Duration(i) * time.Minute)
		b.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Rule: "starts", Separate: true, CreatedAt: at, Columns: map[string]string{
			"action": "PROC_CREATE", "process_guid": p.guid, "pid": strconv.Itoa(5000 + i), "path": `C:\it's ` + p.guid + `.exe`, "cmdline": p.guid,
			"parent_process_guid": p.parent, "parent_path": `C:\` + p.parent + `.exe`, "time": strconv.FormatInt(at.Unix(), 10), "eid": p.guid,
		}})
	}
}

func TestProcessChildren(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	b.started(h)
	alert := soar.Alert{Server: "er", ID: "1", Host: soar.Host{ID: h.ID, Identifier: h.Identifier, Name: h.Name}}
	for depth, want := range map[int]string{1: "ROOT>A ROOT>B", 2: "ROOT>A ROOT>B A>C", 10: "ROOT>A ROOT>B A>C"} {
		out := b.run("process.children", call("c", alert, object{"guid": "ROOT", "depth": float64(depth)}))
		var got []string
		for _, p := range out.Output.(ProcessChildrenOutput).Processes {
			got = append(got, p.Parent+">"+p.GUID)
			if p.PID == "" || p.Path != `C:\it's `+p.GUID+`.exe` || p.Depth < 1 || p.Depth > depth {
				t.Errorf("process %+v", p)
			}
			if _, err := strconv.ParseInt(p.Started, 10, 64); err != nil {
				t.Errorf("started %q: %v", p.Started, err)
			}
		}
		if strings.Join(got, " ") != want || out.Output.(ProcessChildrenOutput).Partial {
			t.Errorf("depth %d: %q, want %q", depth, got, want)
		}
	}
	if out := b.run("process.children", call("c", alert, object{"guid": "B"})).Output.(ProcessChildrenOutput); !out.FoundNothing() {
		t.Errorf("B has started %+v", out)
	}
	for _, tt := range []struct {
		alert soar.Alert
		with  object
		want  string
	}{
		{alert, object{"guid": "ROOT", "depth": 11.0}, "depth: expected a whole number from 1 to 10"},
		{alert, object{"guid": ""}, "guid: is empty"},
		{soar.Alert{}, object{"guid": "ROOT"}, "set host"},
		{alert, object{"guid": "ROOT", "host": "NOBODY"}, "host NOBODY"},
	} {
		_, err := b.actions["process.children"].Do(t.Context(), call("c", tt.alert, tt.with))
		if err == nil || errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v", tt.with, err)
		}
	}
}

func TestProcessChildrenOfTooMany(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	start := time.Now().Add(-time.Hour)
	for i := range maxDescendants + 5 {
		b.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Rule: "bomb", Separate: true, CreatedAt: start.Add(time.Duration(i) * time.Second), Columns: map[string]string{
			"action": "PROC_CREATE", "process_guid": "G" + strconv.Itoa(i), "pid": strconv.Itoa(100 + i), "path": `C:\bomb.exe`, "cmdline": "b",
			"parent_process_guid": "BOMB", "parent_path": `C:\bomb.exe`, "eid": strconv.Itoa(i),
		}})
	}
	out := b.run("process.children", call("c", soar.Alert{Host: soar.Host{ID: h.ID}}, object{"guid": "BOMB"})).Output.(ProcessChildrenOutput)
	if len(out.Processes) != maxDescendants || !out.Partial {
		t.Errorf("%d processes, partial %t", len(out.Processes), out.Partial)
	}
}
