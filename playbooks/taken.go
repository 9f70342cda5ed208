package playbooks

import (
	"context"
	"sync"

	"github.com/erbridge/erbridge/internal/soar"
)

// inFlight knows which alerts are being evaluated, so that none is started twice.
// The journal is read without a lock: an alert may have been read before the
// commit that settled it and be looked at after its worker has gone. So what ended
// since the read began still counts as busy.
type inFlight struct {
	busy  map[int64]bool // true: it was seen pending meanwhile, so look again afterwards
	ended map[int64]struct{}
}

func (f *inFlight) beginRead() { f.ended = map[int64]struct{}{} }

// takeAlert takes an alert to evaluate it. With again, the journal has to be read
// anew to know whether it is still pending.
func (e *Engine) takeAlert(key int64) (taken, again bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, busy := e.alerts.busy[key]; busy {
		e.alerts.busy[key] = true
		return false, false
	}
	if _, ended := e.alerts.ended[key]; ended {
		return false, true
	}
	if e.alerts.busy == nil {
		e.alerts.busy = map[int64]bool{}
	}
	e.alerts.busy[key] = false
	return true, false
}

// dropAlert gives an alert back; left says that it is still pending.
func (e *Engine) dropAlert(key int64, left bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := e.alerts.busy[key]
	delete(e.alerts.busy, key)
	if !left && e.alerts.ended != nil {
		e.alerts.ended[key] = struct{}{}
	}
	if left || seen {
		select {
		case e.again <- struct{}{}:
		default:
		}
	}
}

func (e *Engine) takeRun(id soar.RunID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.runs[id] {
		return false
	}
	e.runs[id] = true
	return true
}

func (e *Engine) dropRun(id soar.RunID) {
	e.mu.Lock()
	delete(e.runs, id)
	if left := e.wanted[id]; left != nil {
		close(left)
		delete(e.wanted, id)
	}
	e.mu.Unlock()
	e.holds.left(id)
}

func (e *Engine) busy(id soar.RunID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs[id]
}

// keyedLocks are mutexes by name whose waiting ends with a context.
type keyedLocks struct {
	mu    sync.Mutex
	locks map[string]chan struct{} // guarded by mu
}

func (k *keyedLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]chan struct{}{}
	}
	c := k.locks[name]
	if c == nil {
		c = make(chan struct{}, 1)
		k.locks[name] = c
	}
	k.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
