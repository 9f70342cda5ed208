package sinktest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// The parts of the contract that a sink without HTTP brings a receiver for, or a
// reason in Harness.Without.
const (
	partAnswers     = "answers"
	partCancelled   = "cancelled in mid-send"
	partPartial     = "partial batch"
	partPoison      = "poison item"
	partCertificate = "certificate"
)

// Answer is one way in which a receiver without HTTP can answer.
type Answer struct {
	Name string
	// Open makes a sink whose receiver answers the first event like that. Like a
	// server would, the answer repeats the secrets of the harness.
	Open func(t *testing.T) sinks.Sink
	// Want is what Send has to make of it.
	Want Class
}

// runPlain checks the contract of a sink that does not speak HTTP.
func runPlain(t *testing.T, h Harness) {
	t.Run("delivers in order", func(t *testing.T) {
		s := h.open(t, Receiver{})
		events := Events(min(h.MaxBatch, 3))
		must(t, s.Send(t.Context(), events))
		if got, want := h.Delivered(t), ids(events); !slices.Equal(got, want) {
			t.Errorf("arrived: %q, want %q", got, want)
		}
	})
	t.Run("a repeat has the same id", func(t *testing.T) {
		s := h.open(t, Receiver{})
		must(t, s.Send(t.Context(), Events(1)))
		must(t, s.Send(t.Context(), Events(1)))
		if got := h.Delivered(t); !slices.Equal(got, []string{"er-1", "er-1"}) {
			t.Errorf("arrived: %q, want er-1 twice", got)
		}
	})
	t.Run("empty batch sends nothing", func(t *testing.T) {
		s := h.open(t, Receiver{})
		must(t, s.Send(t.Context(), nil))
		must(t, s.Send(t.Context(), Events(1)))
		if got := h.Delivered(t); len(got) != 1 {
			t.Errorf("arrived: %q, want one", got)
		}
	})
	t.Run("hostile text is delivered", func(t *testing.T) {
		s := h.open(t, Receiver{})
		must(t, s.Send(t.Context(), []soar.Event{Hostile()}))
		if got := h.Delivered(t); !slices.Equal(got, []string{Hostile().ID}) {
			t.Errorf("arrived: %q, want %q", got, Hostile().ID)
		}
	})
	t.Run("oversized item ends", func(t *testing.T) {
		s := h.open(t, Receiver{})
		h.check(t, s.Send(t.Context(), []soar.Event{oversized()}), Delivered, Permanent, TooLarge)
	})
	t.Run("unwritable item", func(t *testing.T) {
		s := h.open(t, Receiver{})
		events := Events(poisonedEvents)
		events[1] = unwritable()
		dead := h.forward(t, s, events)
		checkUnwritable(t, h.Delivered(t), dead)
	})
	h.part(t, partAnswers, len(h.Answers) > 0, func(t *testing.T) {
		for _, a := range h.Answers {
			t.Run(a.Name, func(t *testing.T) { h.check(t, closed(t, a.Open(t)).Send(t.Context(), Events(1)), a.Want) })
		}
	})
	h.part(t, partCancelled, h.Stuck != nil, h.stuck)
	h.part(t, partPartial, h.Partial != nil, func(t *testing.T) {
		h.checkPartial(t, closed(t, h.Partial(t)).Send(t.Context(), Events(3)))
	})
	h.part(t, partPoison, h.Poison != nil, func(t *testing.T) {
		dead := h.forward(t, closed(t, h.Poison(t, poisonedID)), Events(poisonedEvents))
		h.checkPoisoned(t, h.Delivered(t), dead)
	})
	h.part(t, partCertificate, h.WrongName != nil, func(t *testing.T) {
		h.check(t, closed(t, h.WrongName(t)).Send(t.Context(), Events(1)), Config)
	})
}

// part runs a part of the contract that the harness has what it needs for. One that
// is neither there nor left out for a reason is a failure: so nothing of the
// contract is forgotten in a new sink.
func (h *Harness) part(t *testing.T, name string, there bool, run func(t *testing.T)) {
	t.Helper()
	why, without := h.Without[name]
	switch {
	case there && without:
		t.Errorf("the harness has what %q needs, and says that it is left out", name)
	case there:
		t.Run(name, run)
	case why == "":
		t.Errorf("the harness lacks what %q needs; where a sink cannot have it, Without says why", name)
	}
}

// stuck cancels a Send that waits for a receiver.
func (h *Harness) stuck(t *testing.T) {
	s, arrived := h.Stuck(t)
	closed(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- s.Send(ctx, Events(1)) }()
	select {
	case <-arrived:
	case err := <-result:
		t.Fatalf("Send returned %v before anything arrived", err)
	}
	cancel()
	err := <-result
	if err == nil {
		t.Fatal("a Send that was cut short counts as delivered")
	}
	if p, ok := errors.AsType[*sinks.PartialError](err); ok && len(p.Permanent) > 0 {
		t.Errorf("a Send that was cut short sets events aside: %v", p.Permanent)
		return
	}
	h.check(t, err, Transient, Partial)
}

// closed closes a sink at the end of the test.
func closed(t *testing.T, s sinks.Sink) sinks.Sink {
	t.Helper()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}
