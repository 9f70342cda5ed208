package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// aRun is a run from beginning to end, with all that is recorded of one.
func aRun(key int64, id soar.RunID, at time.Time) []soar.Change {
	alert := sampleAlert(int(key))
	run := soar.Run{
		ID: id, AlertKey: key, Alert: alert.Ref(), Playbook: "contain", Version: "5f70bf18", Mode: soar.ModeEnforce,
		State: soar.RunRunning, StartedAt: at,
	}
	waiting, done := run, run
	waiting.State, waiting.Wake = soar.RunWaiting, at.Add(time.Minute)
	done.State, done.EndedAt = soar.RunDone, at.Add(time.Second)
	entry := func(seq int, kind soar.EntryKind, ref, body string) soar.Entry {
		return soar.Entry{Run: id, Seq: seq, At: at, Step: "contain", Kind: kind, Ref: ref, Body: json.RawMessage(body)}
	}
	return []soar.Change{
		{
			Playbooks: []soar.PlaybookVersion{{Hash: "5f70bf18", Name: "contain", Source: []byte("steps: []")}},
			Evaluated: []soar.Evaluation{{AlertKey: key, Verdicts: map[string]string{"contain": "match"}}},
			Runs:      []soar.Run{run},
			Entries: []soar.Entry{
				entry(1, soar.EntryDecision, "", `{"answers":[{"check":"mode","words":"enforce"}]}`),
				entry(2, soar.EntryIntent, "", `{"action":"host.contain","with":{"host":"WIN-FIN-01"}}`),
			},
			KV: []soar.KV{{Key: "guard/intent/1", Value: "{}"}, {Key: "guard/budget", Value: `{"spent":1}`}},
		},
		{Runs: []soar.Run{waiting}, Entries: []soar.Entry{entry(3, soar.EntrySent, fmt.Sprintf("cmd-%d", id), `{"target":"4C4C"}`)}},
		{Runs: []soar.Run{done}, Entries: []soar.Entry{entry(4, soar.EntryResult, "", `{"state":"verified"}`)}},
	}
}

// fill puts something of everything into a store.
func fill(tb testing.TB, s *Store, runs int) {
	tb.Helper()
	for i := range runs {
		at := s.now()
		for _, change := range append([]soar.Change{{Alerts: []soar.Alert{sampleAlert(i + 1)}}}, aRun(int64(i+1), soar.NewRunID(at), at)...) {
			if _, err := s.Commit(tb.Context(), change); err != nil {
				tb.Fatal(err)
			}
		}
	}
	changed := sampleAlert(1)
	changed.Status, changed.Verdict = soar.StatusResolved, soar.VerdictTruePositive
	last := soar.Change{
		Alerts: []soar.Alert{changed},
		KV:     []soar.KV{{Key: "guard/switch"}},
		Acts:   []soar.Act{{At: s.now(), By: "ada", What: "resume", Reason: "all clear"}},
	}
	if _, err := s.Commit(tb.Context(), last); err != nil {
		tb.Fatal(err)
	}
}

// filled is the folder of a store that was filled and stopped.
func filled(tb testing.TB, o Options, runs int) string {
	tb.Helper()
	dir := tb.TempDir()
	s, stop := start(tb, dir, o)
	defer stop()
	fill(tb, s, runs)
	return dir
}

// tamper runs SQL on a stopped store, as somebody would who can write to its files.
func tamper(tb testing.TB, dir, sql string, args ...any) {
	tb.Helper()
	r := reopened(tb, dir, "&mode=rw")
	defer r.Close()
	if _, err := r.db.ExecContext(tb.Context(), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// reopened opens a store without anything that protects it.
func reopened(tb testing.TB, dir, mode string) *Reader {
	tb.Helper()
	r, err := openReader(tb.Context(), dir, time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	if mode == "" {
		return r
	}
	if err := r.db.Close(); err != nil {
		tb.Fatal(err)
	}
	if r.db, err = sql.Open("sqlite", dsn(dir, mode)); err != nil {
		tb.Fatal(err)
	}
	return r
}

func verify(tb testing.TB, dir string, check AuditCheck) (AuditReport, error) {
	tb.Helper()
	r, err := OpenReader(tb.Context(), dir)
	if err != nil {
		return AuditReport{}, err
	}
	defer r.Close()
	return r.VerifyAudit(tb.Context(), check)
}

// whole fails the test where verification finds something.
func whole(tb testing.TB, dir string) AuditReport {
	tb.Helper()
	report, err := verify(tb, dir, AuditCheck{})
	if err != nil {
		tb.Fatal(err)
	}
	return report
}

// copied is a copy of a store.
func copied(tb testing.TB, dir string) string {
	tb.Helper()
	to := tb.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		tb.Fatal(err)
	}
	return to
}

// auditOf is what the audit record holds.
func auditOf(tb testing.TB, r *Reader) (records []auditRecord) {
	tb.Helper()
	err := r.audited(tb.Context(), func(s *snapshot) error {
		return s.records(-lastSeq, lastSeq, func(r *auditRecord) error {
			records = append(records, *r)
			return nil
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	return records
}

func TestAuditTellsWhatHappened(t *testing.T) {
	s := running(t, Options{})
	fill(t, s, 1)
	var kinds []string
	for _, r := range auditOf(t, s.Reader) {
		kinds = append(kinds, r.kind)
		if !json.Valid([]byte(r.body)) {
			t.Errorf("record %d: %s", r.seq, r.body)
		}
	}
	want := []string{"began", "alerts", "playbook", "evaluated", "run", "decision", "intent", "guard", "sent", "run", "result", "alerts.changed", "guard", "act"}
	if !slices.Equal(kinds, want) {
		t.Errorf("got  %q\nwant %q", kinds, want)
	}
	all := auditOf(t, s.Reader)
	for i, want := range map[int]string{
		2:  `{"hash":"5f70bf18","name":"contain","sha256":"` + sumOf([]byte("steps: []")) + `"}`,
		3:  `{"evaluated":[[1,{"contain":"match"}]]}`,
		7:  `{"key":"guard/budget","value":{"spent":1}}`,
		12: `{"key":"guard/switch","removed":true}`,
	} {
		if all[i].body != want {
			t.Errorf("record %d: %s, want %s", i+1, all[i].body, want)
		}
	}
	for i, want := range map[int]string{6: `"with":{"host":"WIN-FIN-01"}`, 8: `"ref":"cmd-`, 9: `"state":"done"`, 13: `"by":"ada","what":"resume"`} {
		if !strings.Contains(all[i].body, want) {
			t.Errorf("record %d: %s, want %s in it", i+1, all[i].body, want)
		}
	}
	// The alert is told of by its name and a hash, and not copied.
	if !strings.HasPrefix(all[1].body, `{"alerts":[[1,"er-main-100001","`) || len(all[1].body) > 100 {
		t.Errorf("alert: %s", all[1].body)
	}
	report, err := s.VerifyAudit(t.Context(), AuditCheck{})
	if err != nil || report.Records != int64(len(want)) || report.Entries != 4 || report.Alerts != 1 || report.Runs != 1 || report.Playbooks != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	if counts, err := s.Counts(t.Context()); err != nil || counts.AuditHead != report.Head.Seq || s.auditHead.Load() != report.Head.Seq {
		t.Errorf("head %d of %+v, %v", s.auditHead.Load(), counts, err)
	}
}

// What is refused leaves no record, and the chain goes on behind the last one kept.
func TestAuditOfRefusedChanges(t *testing.T) {
	s := running(t, Options{})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			_, err := s.Commit(t.Context(), soar.Change{
				Alerts:  []soar.Alert{sampleAlert(i)},
				Entries: []soar.Entry{{Run: 7, Seq: i / 3, Kind: soar.EntryNote, Body: json.RawMessage(`{"text":"x"}`)}},
			})
			if err != nil && !errors.Is(err, soar.ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	report, err := s.VerifyAudit(t.Context(), AuditCheck{})
	if err != nil || report.Entries != 34 || report.Alerts != 34 {
		t.Errorf("%+v, %v", report, err)
	}
}

// Verification sees one moment of a store that is at work.
func TestAuditVerifiedBesideCommits(t *testing.T) {
	dir := t.TempDir()
	s, stop := start(t, dir, Options{})
	defer stop()
	ctx, done := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := int64(1); ctx.Err() == nil; i++ {
				for _, change := range aRun(i, soar.NewRunID(s.now()), s.now()) {
					change.KV = nil
					change.Alerts = []soar.Alert{sampleAlert(worker*1_000_000 + int(i))}
					if _, err := s.Commit(context.WithoutCancel(ctx), change); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	var head AuditMark
	for different := 0; different < 10; {
		check := AuditCheck{}
		if head.Seq > 0 {
			check.Expect = &head
		}
		report, err := verify(t, dir, check)
		if err != nil {
			t.Error(err)
			break
		}
		if report.Head != head {
			different++
		}
		head = report.Head
	}
	done()
	wg.Wait()
}

func TestAuditFindsWhatWasDoneToIt(t *testing.T) {
	dir := filled(t, Options{}, 3)
	head := whole(t, dir).Head
	if head.Seq < 20 {
		t.Fatalf("head %v", head)
	}
	for _, tt := range []struct {
		name, sql string
		what      AuditFault
		seq       int64
	}{
		{"body", `UPDATE audit SET body = replace(body, 'WIN-FIN-01', 'WIN-FIN-02') WHERE seq = 7`, FaultContent, 7},
		{"time", `UPDATE audit SET at = at + 1 WHERE seq = 7`, FaultContent, 7},
		{"kind", `UPDATE audit SET kind = 'note' WHERE seq = 7`, FaultContent, 7},
		{"hash", `UPDATE audit SET hash = zeroblob(32) WHERE seq = 7`, FaultHash, 7},
		{"short hash", `UPDATE audit SET hash = zeroblob(31) WHERE seq = 7`, FaultHash, 7},
		{"the last body", fmt.Sprintf(`UPDATE audit SET body = '{}' WHERE seq = %d`, head.Seq), FaultContent, head.Seq},
		{"the first body", `UPDATE audit SET body = '{}' WHERE seq = 1`, FaultContent, 1},
		{"removed", `DELETE FROM audit WHERE seq IN (7, 8)`, FaultMissing, 7},
		{"the first removed", `DELETE FROM audit WHERE seq <= 3`, FaultMissing, 1},
		{"the last removed", fmt.Sprintf(`DELETE FROM audit WHERE seq >= %d`, head.Seq-1), FaultMissing, head.Seq - 1},
		{"all removed", `DELETE FROM audit`, FaultMissing, 1},
		{"moved away", `UPDATE audit SET seq = seq + 1000 WHERE seq = 7`, FaultMissing, 7},
		{"moved before the first", `UPDATE audit SET seq = -7 WHERE seq = 7`, FaultOrder, -7},
		{
			"exchanged", `UPDATE audit SET seq = CASE seq WHEN 7 THEN -8 ELSE -7 END WHERE seq IN (7, 8); UPDATE audit SET seq = -seq WHERE seq < 0`,
			FaultOrder, 7,
		},
		{"two in a row", `UPDATE audit SET body = '{}', hash = zeroblob(32) WHERE seq IN (7, 8)`, FaultContent, 7},
		{
			"added", fmt.Sprintf(`INSERT INTO audit SELECT %d, at, kind, body, hash FROM audit WHERE seq = 7`, head.Seq+1),
			FaultContent, head.Seq + 1,
		},
		{"counter down", `UPDATE meta SET value = value - 1 WHERE name = 'last_audit_seq'`, FaultEnd, head.Seq},
		{"counter up", `UPDATE meta SET value = value + 1 WHERE name = 'last_audit_seq'`, FaultMissing, head.Seq + 1},
		{"anchor", `INSERT INTO audit_anchor VALUES (3, 1, zeroblob(32), 0); DELETE FROM audit WHERE seq <= 3`, FaultMissing, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copied(t, dir)
			tamper(t, dir, tt.sql)
			_, err := verify(t, dir, AuditCheck{})
			b, ok := errors.AsType[*AuditBreak](err)
			if !ok || b.What != tt.what || b.Seq != tt.seq {
				t.Errorf("%v\nwant %s at record %d", err, tt.what, tt.seq)
			}
			if !strings.HasPrefix(fmt.Sprint(err), fmt.Sprintf("audit record %d", tt.seq)) { // where it is, in words
				t.Error(err)
			}
		})
	}
}

// What is written anew as a whole is found by who noted a head.
func TestAuditExpect(t *testing.T) {
	dir := filled(t, Options{}, 2)
	report := whole(t, dir)
	s, stop := start(t, dir, Options{})
	if _, err := s.Commit(t.Context(), soar.Change{Acts: []soar.Act{{By: "ada", What: "more"}}}); err != nil {
		t.Fatal(err)
	}
	stop()
	for _, expect := range []AuditMark{report.Head, {Hash: report.Head.Hash}} {
		if _, err := verify(t, dir, AuditCheck{Expect: &expect}); err != nil {
			t.Errorf("a head that was noted: %v", err)
		}
	}
	_, err := verify(t, dir, AuditCheck{Expect: &AuditMark{Hash: AuditHash{1}}})
	if b, ok := errors.AsType[*AuditBreak](err); !ok || b.What != FaultEnd {
		t.Errorf("a hash that never was: %v", err)
	}

	cut := copied(t, dir)
	tamper(t, cut, fmt.Sprintf(`DELETE FROM audit WHERE seq >= %d; UPDATE meta SET value = %[1]d - 1 WHERE name = 'last_audit_seq'`, report.Head.Seq))
	whole(t, cut) // nothing in the store tells it
	_, err = verify(t, cut, AuditCheck{Expect: &report.Head})
	if b, ok := errors.AsType[*AuditBreak](err); !ok || b.What != FaultMissing || b.Seq != report.Head.Seq {
		t.Errorf("cut off: %v", err)
	}

	forged := copied(t, dir)
	r := reopened(t, forged, "&mode=rw")
	prev := AuditHash{}
	for _, record := range auditOf(t, r) {
		record.body = strings.ReplaceAll(record.body, "contain", "release")
		record.hash = record.after(prev)
		prev = record.hash
		if _, err := r.db.ExecContext(t.Context(), "UPDATE audit SET body = ?, hash = ? WHERE seq = ?", record.body, record.hash[:], record.seq); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	_, err = verify(t, forged, AuditCheck{Expect: &report.Head})
	if b, ok := errors.AsType[*AuditBreak](err); !ok || b.What != FaultHash && b.What != FaultTables {
		t.Errorf("written anew: %v", err)
	}
}

// What the store says must be what was recorded.
func TestAuditFindsWhatWasDoneToTheStore(t *testing.T) {
	dir := filled(t, Options{}, 3)
	whole(t, dir)
	for name, sql := range map[string]string{
		"entry changed":    `UPDATE ev SET body = replace(body, 'WIN-FIN-01', 'WIN-FIN-02') WHERE seq = 2`,
		"entry moved":      `UPDATE ev SET at = at + 1 WHERE seq = 2`,
		"entry's step":     `UPDATE ev SET step = 'release' WHERE seq = 2`,
		"entry's command":  `UPDATE ev SET ref = NULL WHERE seq = 3`,
		"entry removed":    `DELETE FROM ev WHERE seq = 2`,
		"entry added":      `INSERT INTO ev SELECT run, 9, at, step, kind, ref, body FROM ev WHERE seq = 2`,
		"journal removed":  `DELETE FROM ev`,
		"run removed":      `DELETE FROM run; DELETE FROM ev`,
		"run added":        `INSERT INTO run SELECT id + 1, alert_key, alert, playbook, version, mode, state, pc, wake, epoch, started_at, ended_at, error FROM run LIMIT 1`,
		"run's mode":       `UPDATE run SET mode = 'observe'`,
		"run's state":      `UPDATE run SET state = 'failed'`,
		"run under way":    `UPDATE run SET state = 'running'`,
		"alert changed":    `UPDATE alert_body SET body = (SELECT body FROM alert_body WHERE key = 3) WHERE key = 2`,
		"alert's other":    `UPDATE alert_body SET body = (SELECT body FROM alert_body WHERE key = 3) WHERE key = 1`,
		"alert renamed":    `UPDATE alert SET id = '9' WHERE key = 2`,
		"alert resolved":   `UPDATE alert SET status = 'resolved' WHERE key = 2`,
		"alert's host":     `UPDATE alert SET host = 'X' WHERE key = 2`,
		"alert removed":    `DELETE FROM alert WHERE key = 2`,
		"alert's content":  `DELETE FROM alert_body WHERE key = 2`,
		"alert added":      `INSERT INTO alert SELECT 9, server, '9', severity, status, verdict, event_count, host, created_at, received_at, comment FROM alert LIMIT 1`,
		"playbook changed": `UPDATE playbook SET source = CAST('steps: [1]' AS BLOB)`,
		"playbook renamed": `UPDATE playbook SET name = 'release'`,
		"playbook removed": `DELETE FROM playbook`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, dir)
			tamper(t, dir, sql)
			_, err := verify(t, dir, AuditCheck{})
			if b, ok := errors.AsType[*AuditBreak](err); !ok || b.What != FaultTables && b.What != FaultUnrecorded {
				t.Errorf("%v, want a fault of the tables", err)
			}
			t.Log(err)
		})
	}
}

func TestAuditFrom(t *testing.T) {
	dir := filled(t, Options{}, 3)
	all := whole(t, dir)
	report, err := verify(t, dir, AuditCheck{From: 10})
	if err != nil || report.First != 10 || report.Records != all.Records-9 || report.Head != all.Head {
		t.Errorf("%+v, %v", report, err)
	}
	for from, want := range map[int64]bool{7: false, 8: false, 9: true} {
		dir := copied(t, dir)
		tamper(t, dir, `UPDATE audit SET hash = zeroblob(32) WHERE seq = 7`)
		_, err := verify(t, dir, AuditCheck{From: from})
		if b, ok := errors.AsType[*AuditBreak](err); (err == nil) != want || err != nil && (!ok || b.Seq > 8) {
			t.Errorf("from %d: %v", from, err)
		}
	}
	if _, err := verify(t, dir, AuditCheck{From: 1000}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("from a record that there is not: %v", err)
	}
}

// A store of the first release gets an audit record that begins there and then.
func TestAuditOfAnOldStore(t *testing.T) {
	dir := filled(t, Options{}, 2)
	tamper(t, dir, `ALTER TABLE pending DROP COLUMN change; ALTER TABLE pending DROP COLUMN next; ALTER TABLE alert DROP COLUMN comment;
		DROP TABLE audit; DROP TABLE audit_anchor; DELETE FROM meta WHERE name = 'last_audit_seq'; PRAGMA user_version = 1`)
	if _, err := verify(t, dir, AuditCheck{}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("before the migration: %v", err)
	}
	before, err := OpenReader(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if found, err := before.Alerts(t.Context(), AlertFilter{}); err != nil || len(found) != 2 {
		t.Errorf("read before the migration: %d alerts, %v", len(found), err)
	}
	s, stop := start(t, dir, Options{})
	defer stop()
	// A run goes on that began before, and an alert changes.
	runs, err := s.Runs(t.Context(), RunFilter{})
	if err != nil {
		t.Fatal(err)
	}
	again := sampleAlert(2)
	again.EventCount += 5
	fresh := aRun(3, soar.NewRunID(time.Now()), time.Now())[0]
	fresh.Alerts = []soar.Alert{again, sampleAlert(3)}
	fresh.Entries = append(fresh.Entries, soar.Entry{Run: runs[0].ID, Seq: 5, Kind: soar.EntryDecision, Body: json.RawMessage(`{"by":"ada"}`)})
	if _, err := s.Commit(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	report, err := s.VerifyAudit(t.Context(), AuditCheck{})
	if err != nil || report.Entries != 3 || report.Alerts != 2 || report.Runs != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestAuditKeepsSecretsOut(t *testing.T) {
	s := running(t, Options{})
	secret := soar.SecretValue("hunter2hunter2")
	with, err := json.Marshal(map[string]any{
		"action": "http.request", "secret": secret,
		"with": map[string]any{
			"auth": map[string]any{"env": "TICKETS_TOKEN"}, "api_token": map[string]any{"env": "NAMED"}, "reset_password": true,
			"headers": map[string]any{"Authorization": "Bearer hunter2hunter2", "X-Api-Key": "hunter2hunter2", "Accept": "text/html"},
			"body":    map[string]any{"passwords": []any{"hunter2hunter2", 4711}, "text": "see https://ada:hunter2hunter2@example.org/x"},
			"note":    "xoxb-hunter2hunter2",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	change := soar.Change{
		Entries: []soar.Entry{{Run: 1, Seq: 1, Kind: soar.EntryIntent, Body: with}},
		KV:      []soar.KV{{Key: "approval/1", Value: `{"with":{"pass\u0077ord":"hunter2hunter2"}}`}},
		Acts:    []soar.Act{{By: "ada", What: "resume", Reason: "token ghp_hunter2hunter2hunter2hunter2hunter2"}},
	}
	if _, err := s.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if _, err := s.ExportAudit(t.Context(), &text, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"hunter2", "4711"} {
		if strings.Contains(text.String(), gone) {
			t.Errorf("%s is in %s", gone, text.String())
		}
	}
	for _, kept := range []string{"TICKETS_TOKEN", "NAMED", `"reset_password":true`, `"Accept":"text/html"`, `"redacted":1`} {
		if !strings.Contains(text.String(), kept) {
			t.Errorf("%s is not in %s", kept, text.String())
		}
	}
	if report, err := s.VerifyAudit(t.Context(), AuditCheck{}); err != nil || report.Entries != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// What is too large for a record is told by its hash, and is found changed all the same.
func TestAuditOfLargeOutputs(t *testing.T) {
	dir := t.TempDir()
	s, stop := start(t, dir, Options{})
	rows := strings.Repeat(`{"pid":"4"},`, 20_000)
	body := "{\n" + `"state":"executed","output":{"rows":[` + strings.TrimSuffix(rows, ",") + "]}}"
	change := soar.Change{Entries: []soar.Entry{
		{Run: 1, Seq: 1, Kind: soar.EntryResult, Body: json.RawMessage(body)},
		{Run: 1, Seq: 2, Kind: soar.EntryNote, Body: json.RawMessage(`"` + strings.Repeat("x", maxAuditBody) + `"`)},
	}}
	if _, err := s.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	for _, r := range auditOf(t, s.Reader) {
		if len(r.body) > 1000 || strings.Contains(r.body, "\n") {
			t.Errorf("record %d has %d bytes: %.200s", r.seq, len(r.body), r.body)
		}
		if r.kind == "result" && !strings.Contains(r.body, `"state":"executed"`) {
			t.Errorf("what is small is gone, too: %s", r.body)
		}
	}
	stop()
	whole(t, dir)
	tamper(t, dir, `UPDATE ev SET body = replace(body, '"4"', '"5"') WHERE seq = 1`)
	if _, err := verify(t, dir, AuditCheck{}); err == nil {
		t.Error("a changed output was not found")
	}
}

func TestAuditExport(t *testing.T) {
	var days atomic.Int64
	clock := func() time.Time {
		return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC).Add(time.Duration(days.Load()) * day)
	}
	s := running(t, Options{Now: clock})
	for day := range 4 {
		days.Add(1)
		if _, err := s.Commit(t.Context(), soar.Change{Acts: []soar.Act{{By: "ada", What: fmt.Sprint("day ", day)}}}); err != nil {
			t.Fatal(err)
		}
	}
	export := func(since, until time.Time) []byte {
		t.Helper()
		var text bytes.Buffer
		if _, err := s.ExportAudit(t.Context(), &text, since, until); err != nil {
			t.Fatal(err)
		}
		return text.Bytes()
	}
	now := clock()
	part := export(now.Add(-48*time.Hour), now)
	report, err := VerifyAuditFile(bytes.NewReader(part), AuditCheck{})
	if err != nil || report.First != 3 || report.Head.Seq != 4 || report.Records != 2 {
		t.Fatalf("%+v, %v of %s", report, err, part)
	}
	if none := export(now.Add(time.Hour), time.Time{}); bytes.Count(none, []byte("\n")) != 2 {
		t.Errorf("nothing was made then: %s", none)
	}
	all := export(time.Time{}, time.Time{})
	head, err := s.VerifyAudit(t.Context(), AuditCheck{})
	if err != nil {
		t.Fatal(err)
	}
	if report, err := VerifyAuditFile(bytes.NewReader(all), AuditCheck{Expect: &head.Head}); err != nil || report.Head != head.Head || !report.At.Equal(head.At) {
		t.Errorf("%+v, %v; the store says %+v", report, err, head)
	}

	// Every single byte counts, and so does the end. A line that looks like a record of
	// another number is found at that number.
	starts := []int{0}
	for i, c := range all {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	for i := range all {
		flipped := slices.Clone(all)
		flipped[i] ^= 1 << (i % 8)
		_, err := VerifyAuditFile(bytes.NewReader(flipped), AuditCheck{})
		if err == nil {
			t.Fatalf("byte %d was not found: %q for %q", i, flipped[i], all[i])
		}
		// Line 1 says what is before record 1, and the last one what is behind the
		// last; in between each line is one record.
		line, _ := slices.BinarySearch(starts, i+1)
		b, ok := errors.AsType[*AuditBreak](err)
		if where := fmt.Sprintf("line %d: ", line); line > 1 && line < len(starts)-1 && (!strings.HasPrefix(err.Error(), where) || !ok || b.Seq != int64(line-1) && b.What != FaultOrder) {
			t.Fatalf("byte %d in line %d (%q for %q): %v", i, line, flipped[i], all[i], err)
		}
		if cut, err := VerifyAuditFile(bytes.NewReader(all[:i]), AuditCheck{}); err == nil && i < len(all)-1 {
			t.Fatalf("cut off at byte %d: %+v", i, cut)
		}
	}
	if _, err := VerifyAuditFile(strings.NewReader(string(all)+"{}\n"), AuditCheck{}); err == nil {
		t.Error("something behind the end was not found")
	}
	if _, err := VerifyAuditFile(io.MultiReader(bytes.NewReader(all[:starts[1]]), neverEnding{}), AuditCheck{}); err == nil {
		t.Error("a line without end was taken")
	}
}

// neverEnding is a line that never ends.
type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte(" "), len(p))), nil
}

// An export of a broken chain goes as far as the chain is good, and says that it ends there.
func TestAuditExportOfABrokenChain(t *testing.T) {
	dir := filled(t, Options{}, 2)
	tamper(t, dir, `UPDATE audit SET body = '{}' WHERE seq = 7`)
	r := reopened(t, dir, "")
	defer r.Close()
	var text bytes.Buffer
	_, err := r.ExportAudit(t.Context(), &text, time.Time{}, time.Time{})
	if b, ok := errors.AsType[*AuditBreak](err); !ok || b.Seq != 7 || bytes.Count(text.Bytes(), []byte("\n")) != 7 {
		t.Errorf("%v after %s", err, text.Bytes())
	}
	if _, err := VerifyAuditFile(&text, AuditCheck{}); err == nil {
		t.Error("it passes for a whole one")
	}
}

func FuzzAuditFile(f *testing.F) {
	record := auditRecord{seq: 1, at: 1, kind: "act", body: `{"by":"ada"}`}
	record.hash = record.after(AuditHash{})
	text := bytes.Join([][]byte{
		plainJSON(exportHead{exportFormat, AuditMark{}.exported()}), appendRecord(nil, &record), plainJSON(exportEnd{record.mark().exported()}), nil,
	}, []byte("\n"))
	f.Add(text)
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		report, err := VerifyAuditFile(bytes.NewReader(text), AuditCheck{})
		if err != nil {
			return
		}
		// What is good can be written again, to the byte.
		lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
		for _, line := range lines[1 : len(lines)-1] {
			if r, err := parseRecord(line); err != nil || !bytes.Equal(appendRecord(nil, r), line) {
				t.Errorf("%q: %v", line, err)
			}
		}
		if int64(len(lines)-2) != report.Records {
			t.Errorf("%d lines, %+v", len(lines), report)
		}
	})
}
