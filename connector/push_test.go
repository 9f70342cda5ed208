package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// intake keeps what sources commit, by the rules of the store: all of a change or
// nothing, and repeats of an alert are dropped.
type intake struct {
	mu      sync.Mutex
	refuse  error
	alerts  map[string]soar.Alert
	order   []string // refs of new alerts, as they came
	keys    map[string]int64
	letters []soar.DeadLetter
	events  []soar.Event
	cursors map[string][]byte
	kv      map[string]soar.KV
	noted   []soar.Noted
	hands   map[string][]soar.Hand // by ref, of changes that were told
	worked  []string               // refs of alerts that runs work on
	commits chan struct{}          // one for every commit, if anyone asked
}

func newIntake() *intake {
	return &intake{alerts: map[string]soar.Alert{}, keys: map[string]int64{}, cursors: map[string][]byte{}, kv: map[string]soar.KV{}, hands: map[string][]soar.Hand{}, commits: make(chan struct{}, 10_000)}
}

func (s *intake) Commit(_ context.Context, c soar.Change) (soar.Committed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return soar.Committed{}, s.refuse
	}
	for _, a := range c.Alerts {
		if len(a.Event["cmdline"]) > 10_000 {
			return soar.Committed{}, fmt.Errorf("alert %s: %w", a.Ref(), soar.ErrTooLarge)
		}
	}
	var done soar.Committed
	for i, a := range c.Alerts {
		known, ok := s.alerts[a.Ref()]
		switch {
		case !ok:
			done.New = append(done.New, i)
			s.order = append(s.order, a.Ref())
			s.keys[a.Ref()] = int64(len(s.order))
		case known.Status != a.Status || known.Verdict != a.Verdict || known.EventCount != a.EventCount || known.Comment != a.Comment:
			done.Updated = append(done.Updated, i)
			a.Backfill = known.Backfill
			hand, told := c.Hands[i]
			switch {
			case known.State() == (soar.AlertState{Status: a.Status, Verdict: a.Verdict, Comment: a.Comment, Severity: known.Severity, EventCount: known.EventCount}):
				hand.Origin = soar.OriginServer
			case !told:
				hand.Origin = soar.OriginAnalyst
			}
			s.hands[a.Ref()] = append(s.hands[a.Ref()], hand)
		default:
			done.Known++
			continue
		}
		s.alerts[a.Ref()] = a
	}
	for _, cursor := range c.Cursors {
		s.cursors[cursor.Source] = bytes.Clone(cursor.Value)
	}
	for _, kv := range c.KV {
		if s.kv[kv.Key] = kv; kv.Value == "" {
			delete(s.kv, kv.Key)
		}
	}
	s.noted = append(s.noted, c.Noted...)
	s.letters = append(s.letters, c.DeadLetters...)
	s.events = append(s.events, c.Events...)
	s.commits <- struct{}{}
	return done, nil
}

func (s *intake) Cursor(_ context.Context, source string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursors[source], nil
}

func (s *intake) KnownOpen(_ context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error) {
	return s.known(server, soar.StatusOpen, since, limit), nil
}

func (s *intake) KnownResolved(_ context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error) {
	return s.known(server, soar.StatusResolved, since, limit), nil
}

func (s *intake) known(server, status string, since time.Time, limit int) (found []soar.StoredAlert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range s.order {
		a := s.alerts[ref]
		if a.Server == server && a.Status == status && !a.CreatedAt.Before(since) && len(found) < limit {
			found = append(found, soar.StoredAlert{Key: s.keys[ref], Alert: a})
		}
	}
	return found
}

func (s *intake) WorkedOn(ctx context.Context, _ string, _ time.Time, limit int) (found []soar.StoredAlert, err error) {
	for _, ref := range s.worked[:min(limit, len(s.worked))] {
		a, err := s.AlertByRef(ctx, ref)
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	return found, nil
}

func (s *intake) KV(_ context.Context, prefix string) (found []soar.KV, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.kv)) {
		if strings.HasPrefix(key, prefix) {
			found = append(found, s.kv[key])
		}
	}
	return found, nil
}

func (s *intake) AlertByRef(_ context.Context, ref string) (soar.StoredAlert, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.alerts[ref]
	if !ok {
		return soar.StoredAlert{}, fmt.Errorf("alert %s: %w", ref, soar.ErrNotFound)
	}
	return soar.StoredAlert{Key: s.keys[ref], Alert: a}, nil
}

func (s *intake) TelemetryRows(context.Context) (n int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range s.events {
		if ev.Type == soar.EventTelemetry {
			n++
		}
	}
	return n, nil
}

func (s *intake) alert(t *testing.T, ref string) soar.Alert {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.alerts[ref]
	if !ok {
		t.Fatalf("alert %s was not taken in; there are %d", ref, len(s.alerts))
	}
	return a
}

// The lines as the releases send them, cut to what tells them apart.
const (
	pushRule40   = `{"_version": 2, "_event_type": "alert", "_host_identifier": "EC2A", "_query_name": "win_process_events", "_rule_name": "Credential dumping", "_severity": "CRITICAL", "_alert_type": "Rule", "_created": "2026-11-22T03:22:30.754074", "_action": null, "eid": "E0", "event_type": "trigger happy", "cmdline": "m\u00f6glich"}`
	pushIntel40  = `{"_version": 2, "_event_type": "trigger", "_alert_type": "Threat Intel", "_source": "virustotal", "_source_data": {}}`
	pushResult40 = `{"_version": 2, "_host_identifier": "EC2A", "_timestamp": "1", "_event_type": "log", "_log_type": "result", "_action": "added", "rule_name": "a column"}`
	pushRule35   = `{"event_type": "trigger", "service_key": "x", "incident_key": "polylogyx-security-7", "client": "PolyLogyx", "rule_name": "r", "severity": "HIGH", "action": "PROC_CREATE"}`
	pushOver35   = `{"event_type": "http_request", "incident_key": "polylogyx-security-8", "rule_name": "r"}`
	pushResult35 = `{"@version": 1, "@host_identifier": "EC2A", "@timestamp": "1", "log_type": "result", "action": "added", "query_name": "q"}`
)

func TestParsePush(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       pushKind
		err        string
	}{
		{"4.0 rule alert", pushRule40, pushAlert, ""},
		{"4.0 threat intelligence", pushIntel40, pushAlert, ""},
		{"4.0 result row with a column named like an alert field", pushResult40, pushResult, ""},
		{"3.5 rule alert", pushRule35, pushAlert, ""},
		{"3.5 alert whose event overwrites event_type", pushOver35, pushAlert, ""},
		{"3.5 result row", pushResult35, pushResult, ""},
		{"RFC 5424 prefix", "<13>1 2026-11-22T03:22:30Z host - - - - " + pushRule40, pushAlert, ""},
		{"RFC 3164 prefix", "<13>Nov 22 03:22:30 host  " + pushRule35, pushAlert, ""},
		{"empty", "  ", pushEmpty, ""},
		{"cut by a relay", pushRule40[:100], "", "not a JSON object"},
		{"no JSON", "GET / HTTP/1.1", "", "no JSON object"},
		{"unknown JSON", `{"hello": "world"}`, "", "neither an alert nor a result row"},
		{"an array in a kind", `{"_event_type": ["alert"]}`, "", "neither"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := parsePush([]byte(tt.line))
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzParsePush(f *testing.F) {
	for _, line := range []string{pushRule40, pushIntel40, pushResult40, pushRule35, pushOver35, pushResult35, "{", "<13>{}"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		kind, _, err := parsePush(line)
		if (kind == "") != (err != nil) {
			t.Errorf("kind %q with error %v", kind, err)
		}
	})
}

// startPush runs a listener for the time of the test and counts its rings.
func startPush(t *testing.T, in *intake) (dial func() net.Conn, rings chan struct{}) {
	t.Helper()
	settings := DefaultPush()
	settings.Listen = "127.0.0.1:0"
	rings = make(chan struct{}, 1000)
	p, err := NewPush("er", settings, func() { rings <- struct{}{} }, SourceEnv{Intake: in})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := p.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	return func() net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}, rings
}

func TestPushRingsForAlertsOnly(t *testing.T) {
	in := newIntake()
	dial, rings := startPush(t, in)
	conn := dial()
	// Payload and newline come as separate writes, rows mixed in, no newline at the end.
	for _, part := range []string{pushResult40, "\n", pushRule40, "\n", pushResult35, "\r\n", pushRule35} {
		if _, err := conn.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-rings
	<-rings
	select {
	case <-rings:
		t.Error("a result row rang")
	default:
	}
	if len(in.letters) != 0 {
		t.Errorf("kept as malformed: %s", in.letters[0].Payload)
	}
}

func TestPushKeepsMalformedLinesAndGoesOn(t *testing.T) {
	in := newIntake()
	dial, rings := startPush(t, in)
	conn := dial()
	huge := strings.Repeat("x", maxPushLineBytes+10)
	if _, err := fmt.Fprintf(conn, "%s\n%s\n%s\n", pushRule40[:50], huge, pushRule40); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-rings
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.letters) != 2 {
		t.Fatalf("%d dead letters, want 2", len(in.letters))
	}
	if got := in.letters[0]; got.Origin != "source:push" || string(got.Payload) != pushRule40[:50] {
		t.Errorf("first dead letter is %q of %s", got.Payload, got.Origin)
	}
	if got := in.letters[1]; len(got.Payload) != maxPushLineBytes || !strings.Contains(got.Reason, fmt.Sprintf("has %d bytes", len(huge)+1)) {
		t.Errorf("second dead letter has %d bytes, reason %q", len(got.Payload), got.Reason)
	}
}

func TestPushFloodOfGarbageIsBounded(t *testing.T) {
	in := newIntake()
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	r := newRejects("push", SourceEnv{Intake: in, Now: func() time.Time { return now }}.withDefaults())
	for range maxRejectsPerMinute + 50 {
		if _, err := r.keep(t.Context(), []byte("garbage"), errors.New("no")); err != nil {
			t.Fatal(err)
		}
	}
	if len(in.letters) != maxRejectsPerMinute {
		t.Errorf("%d kept in a minute, want %d", len(in.letters), maxRejectsPerMinute)
	}
	now = now.Add(time.Minute)
	huge := make([]byte, 2*maxRejectBytes)
	for range 2 * maxRejectBytesPerMinute / maxRejectBytes {
		if _, err := r.keep(t.Context(), huge, errors.New("no")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(in.letters) - maxRejectsPerMinute; n != maxRejectBytesPerMinute/maxRejectBytes {
		t.Errorf("%d huge ones kept in a minute, want %d", n, maxRejectBytesPerMinute/maxRejectBytes)
	}
	now = now.Add(time.Minute)
	if kept, err := r.keep(t.Context(), []byte("garbage"), errors.New("no")); !kept || err != nil {
		t.Errorf("a minute later: kept %v, %v", kept, err)
	}
}
