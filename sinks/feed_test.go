package sinks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// memoryFeed is a Feed that insists on the rules of the real one, and can fail
// before and after taking effect.
type memoryFeed struct {
	t *testing.T

	mu      sync.Mutex
	events  []soar.Event
	cursors map[string]int64
	again   []soar.Redelivery
	dead    []soar.DeadLetter
	kv      map[string]soar.KV
	acts    []soar.Act
	signals [soar.NumSignals]chan struct{}
	serial  int64
	commits int
	before  []error // what the next commits fail with, nothing of them kept
	after   []error // what the next commits return although they are kept
}

func newFeed(t *testing.T, n int) *memoryFeed {
	f := &memoryFeed{t: t, cursors: map[string]int64{}, kv: map[string]soar.KV{}}
	for i := range f.signals {
		f.signals[i] = make(chan struct{})
	}
	f.grow(n)
	return f
}

// grow adds plain events e1, e2, ...
func (f *memoryFeed) grow(n int) {
	f.mu.Lock()
	first := len(f.events)
	f.mu.Unlock()
	for i := range n {
		f.add(testEvent(first + i + 1))
	}
}

func testEvent(n int) soar.Event {
	return soar.Event{ID: fmt.Sprintf("e%d", n), Type: soar.EventNotification, At: time.Now(), Text: fmt.Sprint(n)}
}

func (f *memoryFeed) add(ev soar.Event) {
	if _, err := f.Commit(context.WithoutCancel(f.t.Context()), soar.Change{Events: []soar.Event{ev}}); err != nil {
		f.t.Error(err)
	}
}

func (f *memoryFeed) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return soar.Committed{}, err
	}
	if len(f.before) > 0 {
		err := f.before[0]
		f.before = f.before[1:]
		if err != nil {
			return soar.Committed{}, err
		}
	}
	f.commits++
	for _, ev := range c.Events {
		ev.Pos = int64(len(f.events) + 1)
		f.events = append(f.events, ev)
		f.signal(soar.SignalFeed)
	}
	for _, kv := range c.KV {
		if delete(f.kv, kv.Key); kv.Value != "" {
			f.kv[kv.Key] = kv
		}
	}
	f.acts = append(f.acts, c.Acts...)
	for _, cur := range c.Sinks {
		if old, known := f.cursors[cur.Sink]; known && cur.Pos < old {
			f.t.Errorf("cursor of %s goes back from %d to %d", cur.Sink, old, cur.Pos)
		}
		if cur.Pos > int64(len(f.events)) {
			f.t.Errorf("cursor of %s at %d is beyond the head %d", cur.Sink, cur.Pos, len(f.events))
		}
		f.cursors[cur.Sink] = cur.Pos
	}
	for _, d := range c.DeadLetters {
		if d.EventID == "" || d.Reason == "" || len(d.Payload) == 0 || d.At.IsZero() {
			f.t.Errorf("incomplete dead letter %+v", d)
		}
		f.dead = append(f.dead, d)
	}
	for _, r := range c.Redeliver {
		f.serial++
		r.ID = f.serial
		f.again = append(f.again, r)
		f.signal(soar.SignalRedeliver)
	}
	for _, id := range c.Redelivered {
		n := len(f.again)
		f.again = slices.DeleteFunc(f.again, func(r soar.Redelivery) bool { return r.ID == id })
		if len(f.again) == n {
			f.t.Errorf("redelivery %d is not queued", id)
		}
	}
	if len(f.after) > 0 {
		err := f.after[0]
		f.after = f.after[1:]
		return soar.Committed{}, err
	}
	return soar.Committed{}, nil
}

func (f *memoryFeed) signal(s soar.Signal) {
	close(f.signals[s])
	f.signals[s] = make(chan struct{})
}

func (f *memoryFeed) Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if limit <= 0 {
		f.t.Errorf("Feed with limit %d", limit)
	}
	n := int64(len(f.events))
	return slices.Clone(f.events[min(after, n):min(after+int64(limit), n)]), ctx.Err()
}

func (f *memoryFeed) FeedHead(ctx context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.events)), ctx.Err()
}

func (f *memoryFeed) SinkCursor(ctx context.Context, sink string) (int64, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pos, known := f.cursors[sink]
	return pos, known, ctx.Err()
}

func (f *memoryFeed) Redeliveries(ctx context.Context, sink string, limit int) ([]soar.Redelivery, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []soar.Redelivery
	for _, r := range f.again {
		if r.Sink == sink && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, ctx.Err()
}

func (f *memoryFeed) KV(ctx context.Context, prefix string) (found []soar.KV, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, kv := range f.kv {
		if strings.HasPrefix(key, prefix) {
			found = append(found, kv)
		}
	}
	return found, ctx.Err()
}

// troubles are the texts of the trouble events so far.
func (f *memoryFeed) troubles() (texts []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ev := range f.events {
		if ev.Type == soar.EventTrouble {
			texts = append(texts, ev.Text)
		}
	}
	return texts
}

func (f *memoryFeed) Changed(s soar.Signal) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.signals[s]
}

func (f *memoryFeed) cursor(sink string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cursors[sink]
}

func (f *memoryFeed) deadLetters() []soar.DeadLetter {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.dead)
}

// try is one Send that a scripted sink saw.
type try struct {
	at  time.Duration // since the sink was made
	ids []string
}

// script is a sink that answers as its function says, and remembers.
type script struct {
	answer func(n int, ids []string) error // n counts from 1
	began  time.Time

	mu    sync.Mutex
	tries []try
	took  []string
}

func newScript(answer func(n int, ids []string) error) *script {
	return &script{answer: answer, began: time.Now()}
}

func (s *script) Send(_ context.Context, events []soar.Event) error {
	s.mu.Lock()
	ids := make([]string, len(events))
	for i, ev := range events {
		ids[i] = ev.ID
	}
	s.tries = append(s.tries, try{time.Since(s.began), ids})
	n := len(s.tries)
	s.mu.Unlock()
	var err error
	if s.answer != nil {
		err = s.answer(n, ids)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.took = append(s.took, ids...)
	}
	if p, ok := errors.AsType[*PartialError](err); ok {
		for i, id := range ids {
			if p.Permanent[i] == nil && p.Transient[i] == nil {
				s.took = append(s.took, id)
			}
		}
	}
	return err
}

func (s *script) Close() error { return nil }

func (s *script) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.took)
}

func (s *script) attempts() []try {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tries)
}
