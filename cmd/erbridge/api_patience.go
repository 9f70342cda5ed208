package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// patience ends a call that takes too long. What arrives makes it wait anew.
type patience struct {
	w      io.Writer
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

var errNoAnswer = errors.New("no answer")

func newPatience(ctx context.Context, limit time.Duration) (context.Context, *patience) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{limit: limit, cancel: cancel}
	p.timer = time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w within %v", errNoAnswer, limit)) })
	return ctx, p
}

// Write passes on what arrived.
func (p *patience) Write(data []byte) (int, error) {
	p.timer.Reset(p.limit)
	return p.w.Write(data)
}

func (p *patience) end() {
	p.timer.Stop()
	p.cancel(nil)
}
