package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// audited are the records of a backend, as an export tells them.
func audited(t *testing.T, b Backend) (records []struct{ Kind, Body string }) {
	t.Helper()
	var text bytes.Buffer
	if _, err := b.ExportAudit(t.Context(), &text, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.VerifyAuditFile(bytes.NewReader(text.Bytes()), store.AuditCheck{}); err != nil {
		t.Fatalf("%v in %s", err, text.Bytes())
	}
	for line := range strings.Lines(text.String()) {
		var r struct {
			Kind string
			Body json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Kind != "" {
			records = append(records, struct{ Kind, Body string }{r.Kind, string(r.Body)})
		}
	}
	return records
}

func testAudit(t *testing.T, open Opener) {
	t.Run("what is committed is recorded, and nothing else", func(t *testing.T) {
		b := open(t, store.Options{})
		if got := audited(t, b); len(got) != 1 || got[0].Kind != "began" {
			t.Errorf("a new store: %+v", got)
		}
		for _, tt := range []struct {
			name   string
			change soar.Change
			want   string // kind and something of the body of each record
		}{
			{"alert", soar.Change{Alerts: []soar.Alert{alert("er", "1"), alert("er", "2")}}, `alerts "er-2"`},
			{"known alert", soar.Change{Alerts: []soar.Alert{alert("er", "1")}}, ``},
			{"playbook", soar.Change{Playbooks: []soar.PlaybookVersion{{Hash: "5f", Name: "contain", Source: []byte("x")}}}, `playbook "contain"`},
			{"known playbook", soar.Change{Playbooks: []soar.PlaybookVersion{{Hash: "5f", Name: "contain", Source: []byte("x")}}}, ``},
			{"evaluation", soar.Change{Evaluated: []soar.Evaluation{{AlertKey: 1, Verdicts: map[string]string{"contain": "match"}}, {AlertKey: 2}}},
				`evaluated {"evaluated":[[1,{"contain":"match"}],[2]]}`},
			{"run", soar.Change{Runs: []soar.Run{{ID: 1, Playbook: "contain", State: soar.RunRunning}}}, `run "running"`},
			{"run that waits", soar.Change{Runs: []soar.Run{{ID: 1, Playbook: "contain", State: soar.RunWaiting}}}, ``},
			{"run in doubt", soar.Change{Runs: []soar.Run{{ID: 1, Playbook: "contain", State: soar.RunUnknown, Error: "lost"}}}, `run "lost"`},
			{"entry", soar.Change{Entries: []soar.Entry{{Run: 1, Seq: 1, At: epoch, Kind: soar.EntryDecision, Body: json.RawMessage(`{"by":"ada"}`)}}},
				`decision {"by":"ada"}`},
			{"run that goes on", soar.Change{Runs: []soar.Run{{ID: 1, Playbook: "contain", State: soar.RunRunning}}}, `run "running"`},
			{"run that ends", soar.Change{Runs: []soar.Run{{ID: 1, Playbook: "contain", State: soar.RunDone}}}, `run "done"`},
			{"switch", soar.Change{KV: []soar.KV{{Key: "guard/switch", Value: `{"by":"ada","reason":"drill"}`}}}, `guard "reason":"drill"`},
			{"switch taken back", soar.Change{KV: []soar.KV{{Key: "guard/switch"}}, Acts: []soar.Act{{By: "ada", What: "resume"}}},
				`guard "removed":true|act "resume"`},
			{"approval", soar.Change{KV: []soar.KV{{Key: "approval/x", Value: `{"votes":[{"by":"ada"}]}`}}}, `guard {"votes":[{"by":"ada"}]}`},
			{"what follows from the journal", soar.Change{KV: []soar.KV{{Key: "guard/intent/x", Value: "1"}, {Key: "guard/call/x/y", Value: "1"}, {Key: "cooldown/x", Value: "1"}}}, ``},
			{"deliveries", soar.Change{Sinks: []soar.SinkCursor{{Sink: "a", Pos: 1}}, Cursors: []soar.Cursor{{Source: "p", Value: []byte("1")}}}, ``},
			{"changed alert", soar.Change{Alerts: []soar.Alert{func() soar.Alert {
				a := alert("er", "1")
				a.Status = soar.StatusResolved
				return a
			}()}}, `alerts.changed "er-1"`},
		} {
			before := len(audited(t, b))
			commit(t, b, tt.change)
			got := audited(t, b)[before:]
			var want []string
			if tt.want != "" {
				want = strings.Split(tt.want, "|")
			}
			if len(got) != len(want) {
				t.Errorf("%s: %+v, want %q", tt.name, got, want)
				continue
			}
			for i, w := range want {
				if kind, part, _ := strings.Cut(w, " "); got[i].Kind != kind || !strings.Contains(got[i].Body, part) {
					t.Errorf("%s: %+v, want %s", tt.name, got[i], w)
				}
			}
		}
		if _, err := b.VerifyAudit(t.Context(), store.AuditCheck{}); err != nil {
			t.Error(err)
		}
	})

	t.Run("what is refused is not recorded", func(t *testing.T) {
		b := open(t, store.Options{})
		commit(t, b, soar.Change{Entries: []soar.Entry{{Run: 1000, Seq: 1, Kind: soar.EntryNote}}})
		var kept, refused sync.Map
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				mark := fmt.Sprintf("m%03d", i)
				change := everything(soar.RunID(i+1), 1, mark)
				change.KV = []soar.KV{{Key: "guard/" + mark, Value: "1"}}
				if i%5 == 3 {
					change.Entries = append(change.Entries, soar.Entry{Run: 1000, Seq: 1})
				}
				switch _, err := b.Commit(context.WithoutCancel(t.Context()), change); {
				case err == nil:
					kept.Store(mark, true)
				case errors.Is(err, soar.ErrConflict):
					refused.Store(mark, true)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		kinds := map[string]map[string]bool{} // by mark
		for _, r := range audited(t, b) {
			if i := strings.Index(r.Body, "m0"); i >= 0 {
				mark := r.Body[i : i+4]
				if kinds[mark] == nil {
					kinds[mark] = map[string]bool{}
				}
				kinds[mark][r.Kind] = true
			}
		}
		kept.Range(func(mark, _ any) bool {
			want := []string{"evaluated", "guard", "note", "playbook", "run"} // one record of alerts may tell of many
			if got := slices.Sorted(maps.Keys(kinds[mark.(string)])); !slices.Equal(slices.DeleteFunc(got, func(k string) bool { return k == "alerts" }), want) {
				t.Errorf("%s was kept, recorded are %q", mark, got)
			}
			return true
		})
		refused.Range(func(mark, _ any) bool {
			if got := kinds[mark.(string)]; got != nil {
				t.Errorf("%s was refused, recorded are %v", mark, got)
			}
			return true
		})
		report, err := b.VerifyAudit(t.Context(), store.AuditCheck{})
		if err != nil || report.Alerts != 80 || report.Runs != 80 || report.Entries != 81 {
			t.Errorf("%+v, %v", report, err)
		}
	})

	t.Run("retention leaves a chain that can be verified", func(t *testing.T) {
		var clock clock
		const day = 24 * time.Hour
		b := open(t, store.Options{Now: clock.now, Retention: store.Retention{Audit: 10 * day}})
		commit(t, b, soar.Change{Acts: []soar.Act{{By: "ada", What: "old"}}})
		old := must(b.VerifyAudit(t.Context(), store.AuditCheck{}))(t)
		clock.moveTo(9 * day)
		commit(t, b, soar.Change{Acts: []soar.Act{{By: "ada", What: "young"}}})
		clock.moveTo(15 * day)
		if err := b.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := audited(t, b)
		if len(got) != 2 || !strings.Contains(got[0].Body, "young") || got[1].Kind != "retention" || !strings.Contains(got[1].Body, old.Head.Hash.String()) {
			t.Errorf("left: %+v", got)
		}
		report, err := b.VerifyAudit(t.Context(), store.AuditCheck{Expect: &old.Head})
		if err != nil || report.First != old.Head.Seq+1 || report.Records != 2 {
			t.Errorf("%+v, %v", report, err)
		}
		if counts := must(b.Counts(t.Context()))(t); counts.AuditHead != report.Head.Seq {
			t.Errorf("counts %+v, the head is %v", counts, report.Head)
		}
	})
}
