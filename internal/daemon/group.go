package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// group runs named parts. A part is a function that blocks until its context
// ends. One that ends earlier has failed for good, and takes the group with it.
type group struct {
	ctx    context.Context         // the parent of all parts
	failed context.CancelCauseFunc // ends Failed with the first failure
	fatal  context.Context
}

// newGroup makes a group whose parts end with stop, and not with ctx: they are
// stopped one after the other.
func newGroup(ctx context.Context) *group {
	g := &group{ctx: context.WithoutCancel(ctx)}
	g.fatal, g.failed = context.WithCancelCause(ctx)
	return g
}

// Done is closed when the parent context ends or a part fails; Err tells which.
func (g *group) Done() <-chan struct{} { return g.fatal.Done() }

// Err is the failure of a part, with its name, or nil when none failed.
func (g *group) Err() error {
	cause := context.Cause(g.fatal)
	if _, ok := errors.AsType[*partError](cause); ok {
		return cause
	}
	return nil
}

// partError says which part failed.
type partError struct {
	part string
	err  error
}

func (e *partError) Error() string { return e.part + ": " + e.err.Error() }
func (e *partError) Unwrap() error { return e.err }

// part is one running part.
type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // how it ended after it was stopped; valid after done
}

// ended reports whether the part's function has returned.
func (p *part) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// start runs a part.
func (g *group) start(name string, run func(context.Context) error) *part {
	ctx, cancel := context.WithCancel(g.ctx)
	p := &part{name: name, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		err := run(ctx)
		switch {
		case ctx.Err() == nil && err == nil:
			g.failed(&partError{name, errors.New("ended by itself")})
		case ctx.Err() == nil:
			g.failed(&partError{name, err})
		case err != nil && !errors.Is(err, context.Canceled):
			p.err = &partError{name, err}
		}
	}()
	return p
}

// stop ends parts together and waits for all of them, or for the time that is
// allowed. A part that is still running after it is named in the error; what it
// holds is lost with the process, as in a crash.
func stop(allowed time.Duration, parts ...*part) error {
	for _, p := range parts {
		p.cancel()
	}
	timer := time.NewTimer(allowed)
	defer timer.Stop()
	var problems []error
	for i, p := range parts {
		select {
		case <-p.done:
			problems = append(problems, p.err)
		case <-timer.C:
			for _, late := range parts[i:] {
				if late.ended() {
					problems = append(problems, late.err)
				} else {
					problems = append(problems, fmt.Errorf("%s: still running after %s", late.name, allowed))
				}
			}
			return errors.Join(problems...)
		}
	}
	return errors.Join(problems...)
}
