package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Records are listed by what they are about, and not by what a text in them says.
func TestAuditEntries(t *testing.T) {
	s := running(t, Options{})
	fill(t, s, 3)
	runs, err := s.Runs(t.Context(), RunFilter{})
	if err != nil || len(runs) != 3 {
		t.Fatalf("%d runs: %v", len(runs), err)
	}
	run, other := runs[2], runs[1] // the newest first
	// Somebody makes a text of an alert that looks like another run and alert.
	hostile := soar.Entry{Run: other.ID, Seq: 5, At: s.now(), Step: "x", Kind: soar.EntryNote,
		Body: []byte(`{"text":"\"run\":\"` + run.ID.String() + `\"","run":"` + run.ID.String() + `","alert":"` + run.Alert + `"}`)}
	approval := soar.KV{Key: "approval/a1", Value: `{"id":"a1","run":"` + run.ID.String() + `"}`}
	late := s.now()
	if _, err := s.Commit(t.Context(), soar.Change{Entries: []soar.Entry{hostile}, KV: []soar.KV{approval}}); err != nil {
		t.Fatal(err)
	}
	head := auditOf(t, s.Reader)
	ofRun := []string{"guard", "result", "run", "sent", "intent", "decision", "run"}
	for _, tt := range []struct {
		name   string
		filter AuditFilter
		want   []string // kinds, the newest first
	}{
		{"a run", AuditFilter{Run: run.ID}, ofRun},
		{"an alert, with its runs", AuditFilter{Alert: run.Alert}, append(slices.Insert(slices.Clone(ofRun), 1, "alerts.changed"), "evaluated", "alerts")},
		{"a run of another alert", AuditFilter{Run: run.ID, Alert: other.Alert}, nil},
		{"a run of its alert", AuditFilter{Run: run.ID, Alert: run.Alert}, ofRun},
		{"a kind", AuditFilter{Run: run.ID, Kind: "run"}, []string{"run", "run"}},
		{"since", AuditFilter{Since: late}, []string{"guard", "note"}},
		{"since the future", AuditFilter{Since: late.Add(time.Hour)}, nil},
		{"so many", AuditFilter{Limit: 2}, []string{"guard", "note"}},
		{"below", AuditFilter{Before: 3}, []string{"alerts", "began"}},
		{"nothing of that name", AuditFilter{Alert: "er-4711"}, nil},
	} {
		found, err := s.AuditEntries(t.Context(), tt.filter)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for i, e := range found {
			kinds = append(kinds, e.Kind)
			if r := head[e.Seq-1]; e.Hash != r.hash.String() || string(e.Body) != r.body || !e.At.Equal(fromMicros(r.at)) || i > 0 && e.Seq >= found[i-1].Seq {
				t.Errorf("%s: record %+v", tt.name, e)
			}
		}
		if !slices.Equal(kinds, tt.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, kinds, tt.want)
		}
	}
}

// What was damaged is listed as far as it can be read, for those who look into it.
func TestAuditEntriesOfADamagedRecord(t *testing.T) {
	dir := filled(t, Options{}, 1)
	tamper(t, dir, `UPDATE audit SET body = '{"run":' || char(0x1b), hash = zeroblob(3) WHERE seq = 7`)
	r := reopened(t, dir, "")
	defer r.Close()
	found, err := r.AuditEntries(t.Context(), AuditFilter{Before: 8, Limit: 1})
	if err != nil || len(found) != 1 || found[0].Seq != 7 || found[0].Hash != "000000" || !strings.Contains(string(found[0].Body), `\u001b`) {
		t.Errorf("%+v: %v", found, err)
	}
}
