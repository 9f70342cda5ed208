package store

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// crashChildEnv makes the test binary a child that commits until it is killed.
const crashChildEnv = "ERBRIDGE_STORE_CRASH_CHILD"

func TestMain(m *testing.M) {
	switch dir := os.Getenv(crashChildEnv); {
	case dir == "":
		os.Exit(m.Run())
	case os.Getenv(memoryChildEnv) != "":
		memoryChild(dir)
	default:
		crashChild(dir)
	}
}

// crashChange is a change by which its number can be told from each of its parts.
func crashChange(n uint64) soar.Change {
	mark := strconv.FormatUint(n, 10)
	run := soar.RunID(n)
	alerts := make([]soar.Alert, 3)
	for i := range alerts {
		alerts[i] = sampleAlert(int(n))
		alerts[i].ID = mark + "." + strconv.Itoa(i)
	}
	return soar.Change{
		Alerts:  alerts,
		Cursors: []soar.Cursor{{Source: mark, Value: []byte(mark)}},
		Runs:    []soar.Run{{ID: run, State: soar.RunRunning, Playbook: mark}},
		Entries: []soar.Entry{{Run: run, Seq: 1, Kind: soar.EntryIntent, Ref: mark, Body: json.RawMessage(mark)}, {Run: run, Seq: 2}},
		Events:  []soar.Event{{ID: mark, Type: soar.EventTest}},
		KV:      []soar.KV{{Key: mark, Value: mark}},
	}
}

// crashChild commits from many goroutines and writes the number of each change
// that was acknowledged to standard output. It never ends by itself.
func crashChild(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		fail(err)
	}
	go func() { fail(s.Run(ctx)) }()
	counts, err := s.Counts(ctx)
	if err != nil {
		fail(err)
	}
	// Numbers that no child before has used.
	first := uint64(counts.FeedHead+1) << 20
	acknowledged := make(chan uint64)
	for worker := range 16 {
		go func() {
			for n := first + uint64(worker); ; n += 16 {
				if _, err := s.Commit(ctx, crashChange(n)); err != nil {
					fail(err)
				}
				acknowledged <- n
			}
		}()
	}
	for n := range acknowledged {
		if err := binary.Write(os.Stdout, binary.LittleEndian, n); err != nil {
			fail(err)
		}
	}
}

func TestKilledAtAnyMomentNothingAcknowledgedIsLost(t *testing.T) {
	kills := 40
	if testing.Short() {
		kills = 5
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(20261122, 1))
	acknowledged := map[uint64]bool{}
	for range kills {
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), crashChildEnv+"="+dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment is a number of acknowledgements and a little more, so that it
		// falls anywhere in what the committer does.
		after, more := random.IntN(400), time.Duration(random.IntN(3000))*time.Microsecond
		in := bufio.NewReader(out)
		for i := 0; ; i++ {
			if i == after {
				time.AfterFunc(more, func() { _ = cmd.Process.Kill() })
			}
			var n uint64
			if err := binary.Read(in, binary.LittleEndian, &n); err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				if i < after {
					t.Fatalf("child ended by itself: %s", stderr.String())
				}
				break
			}
			acknowledged[n] = true
		}
		_ = cmd.Wait() // killed
	}

	s := runningIn(t, dir)
	ctx := t.Context()
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
	// Whatever has one part of a change has all of them.
	found := map[uint64]int{}
	part := func(mark string) {
		n, err := strconv.ParseUint(mark, 10, 64)
		if err != nil {
			t.Fatalf("odd mark %q", mark)
		}
		found[n]++
	}
	for after := int64(0); ; {
		events, err := s.Feed(ctx, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			break
		}
		for _, ev := range events {
			after = ev.Pos
			if ev.Type == soar.EventTest {
				part(ev.ID)
				continue
			}
			mark, _, _ := strings.Cut(ev.Alert.ID, ".")
			part(mark)
		}
	}
	runs, err := s.Running(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		part(run.Playbook)
		entries, err := s.Entries(ctx, run.ID)
		if err != nil {
			t.Fatal(err)
		}
		for range entries {
			part(run.Playbook)
		}
		value, err := s.Cursor(ctx, run.Playbook)
		if err != nil {
			t.Fatal(err)
		}
		part(string(value))
	}
	values, err := s.KV(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range values {
		part(kv.Key)
	}
	const parts = 3 + 1 + 1 + 2 + 1 + 1 // alerts, event, run, entries, cursor, value
	for n, got := range found {
		if got != parts {
			t.Errorf("change %d is there with %d of %d parts", n, got, parts)
		}
	}
	for n := range acknowledged {
		if found[n] != parts {
			t.Errorf("change %d was acknowledged and is there with %d of %d parts", n, found[n], parts)
		}
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged")
	}
	checkTally(t, s)
	// The chain is whole, and tells of every change exactly once.
	audit, err := s.VerifyAudit(ctx, AuditCheck{})
	if err != nil || audit.Alerts != int64(3*len(found)) || audit.Entries != int64(2*len(found)) || audit.Runs != int64(len(found)) {
		t.Errorf("audit record of %d changes: %+v, %v", len(found), audit, err)
	}
	t.Logf("%d kills, %d changes acknowledged, %d more on disk", kills, len(acknowledged), len(found)-len(acknowledged))
}

// checkTally counts what the counters claim to have counted.
func checkTally(t *testing.T, s *Store) {
	t.Helper()
	for name, query := range map[string]string{
		"alerts": "SELECT count(*) FROM alert", "pending": "SELECT count(*) FROM pending", "feed": "SELECT count(*) FROM feed",
		"runs_running": "SELECT count(*) FROM run WHERE state = 'running'", "dead_letters": "SELECT count(*) FROM dead_letter",
		"telemetry": "SELECT count(*) FROM feed WHERE type = 'telemetry'",
	} {
		var real, kept int64
		if err := s.db.QueryRowContext(t.Context(), query).Scan(&real); err != nil {
			t.Fatal(err)
		}
		if err := s.db.QueryRowContext(t.Context(), "SELECT coalesce(max(value), 0) FROM meta WHERE name = ?", name).Scan(&kept); err != nil {
			t.Fatal(err)
		}
		if real != kept {
			t.Errorf("counter %s says %d, there are %d", name, kept, real)
		}
	}
}

func runningIn(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, stop := start(tb, dir, Options{})
	tb.Cleanup(stop)
	return s
}
