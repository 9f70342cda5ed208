package modeltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// Random changes leave the same behind in memory as in the store, also those that are
// refused.
func TestMemoryIsLikeTheStore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	}()
	m := newMemory()
	now := time.Now().UTC()
	seq := map[soar.RunID]int{}
	for step := range 300 {
		change := randomChange(rnd, now, seq, step)
		both := [2]soar.Committed{}
		var errs [2]error
		for i, d := range []disk{s, m} {
			both[i], errs[i] = d.Commit(ctx, change)
		}
		if !reflect.DeepEqual(both[0], both[1]) || (errs[0] == nil) != (errs[1] == nil) || errors.Is(errs[0], soar.ErrConflict) != errors.Is(errs[1], soar.ErrConflict) {
			t.Fatalf("change %d: the store says %+v, %v, and memory %+v, %v", step, both[0], errs[0], both[1], errs[1])
		}
		a, b := seen(t, s, now), seen(t, m, now)
		if a != b {
			t.Fatalf("after change %d the store has\n%s\nand memory\n%s", step, a, b)
		}
	}
}

func randomChange(rnd *rand.Rand, now time.Time, seq map[soar.RunID]int, step int) (c soar.Change) {
	at := now.Add(time.Duration(rnd.IntN(2000)-1000) * time.Millisecond)
	c.Playbooks = []soar.PlaybookVersion{{Hash: fmt.Sprint("hash", rnd.IntN(3)), Name: "book", Source: []byte("text")}}
	if rnd.IntN(3) == 0 {
		c.Alerts = append(c.Alerts, soar.Alert{
			Server: "er", ID: fmt.Sprint(step), Source: "rule", Severity: soar.SeverityHigh, Status: soar.StatusOpen, CreatedAt: now, EventTime: now,
			Event: map[string]string{"pid": "1"}, Host: soar.Host{Identifier: "host"},
		})
	}
	run := soar.RunID(1 + rnd.IntN(6))
	seq[run]++
	c.Runs = []soar.Run{{
		ID: run, Playbook: "book", Version: c.Playbooks[0].Hash, Mode: soar.ModeEnforce,
		State: []soar.RunState{soar.RunRunning, soar.RunWaiting, soar.RunDone}[rnd.IntN(3)], Wake: at, StartedAt: at, Epoch: seq[run],
	}}
	number := seq[run]
	if rnd.IntN(10) == 0 && number > 1 {
		number-- // a conflict
		seq[run]--
	}
	entry := soar.Entry{Run: run, Seq: number, At: at, Step: "s", Kind: soar.EntryNote, Body: json.RawMessage(`{"text":"x"}`)}
	if rnd.IntN(4) == 0 {
		entry.Ref, entry.Kind = fmt.Sprint("cmd:", step), soar.EntrySent
	}
	c.Entries = []soar.Entry{entry}
	kv := soar.KV{Key: fmt.Sprint("guard/", rnd.IntN(5)), Value: fmt.Sprint(step)}
	switch rnd.IntN(4) {
	case 0:
		kv.Value = ""
	case 1:
		kv.Expires = now.Add(-time.Hour)
	case 2:
		kv.Expires = now.Add(time.Hour)
	}
	c.KV = []soar.KV{kv}
	return c
}

// seen is what the engine can read of a disk.
func seen(t *testing.T, d disk, now time.Time) string {
	t.Helper()
	ctx := t.Context()
	all := map[string]any{}
	note := func(name string, v any, err error) {
		switch {
		case errors.Is(err, soar.ErrNotFound):
			v = "not found"
		case err != nil:
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = v
	}
	pending, err := d.Pending(ctx, 2, 5)
	for i := range pending {
		pending[i].ReceivedAt = time.Time{} // nobody who works with the engine looks at it
	}
	note("pending", pending, err)
	running, err := d.Running(ctx)
	note("running", running, err)
	due, err := d.Due(ctx, now, 3)
	note("due", due, err)
	wake, err := d.NextWake(ctx)
	note("wake", wake, err)
	runs, err := d.Runs(ctx, store.RunFilter{})
	note("runs", runs, err)
	for id := range soar.RunID(8) {
		run, err := d.GetRun(ctx, id)
		note(fmt.Sprint("run ", int64(id)), run, err)
		entries, err := d.Entries(ctx, id)
		note(fmt.Sprint("entries ", int64(id)), entries, err)
	}
	for n := range 300 {
		if claimed, err := d.RefClaimed(ctx, fmt.Sprint("cmd:", n)); claimed || err != nil {
			note(fmt.Sprint("claimed ", n), claimed, err)
		}
	}
	for n := range 4 {
		v, err := d.PlaybookVersion(ctx, fmt.Sprint("hash", n))
		note(fmt.Sprint("version ", n), v, err)
	}
	kv, err := d.KV(ctx, "guard/")
	note("kv", kv, err)
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
