package killtest

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// moment is when a process dies: at the nth commit, before or after it is on disk, or
// at the nth request that the call with an effect takes, before the server has it or
// after.
type moment struct {
	where string // commit, committed, call, called; empty: never
	n     int
}

// process is one life of the engine. It is the journal that the engine works with.
type process struct {
	*store.Store
	scene *scene
	at    moment
	first bool // no other was there before it
	ended context.CancelFunc

	mu       sync.Mutex
	died     bool // guarded by mu
	commits  int  // guarded by mu
	requests int  // guarded by mu
	sending  bool // the intent is on disk, and nothing behind it; guarded by mu
	effectAt int  // the request that the server counted; guarded by mu
}

func (p *process) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.died
}

func (p *process) die() {
	p.mu.Lock()
	p.died = true
	p.mu.Unlock()
	p.ended()
}

// dial opens connections as long as the process lives.
func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if p.dead() {
		return nil, errDead
	}
	return p.scene.net.dial(ctx, network, address)
}

// request counts the requests that the call of the step takes.
func (p *process) request() (n int, sending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sending {
		p.requests++
	}
	return p.requests, p.sending
}

// dies ends the process when its moment has come.
func (p *process) dies(where string, n int) bool {
	if p.at != (moment{where, n}) {
		return false
	}
	p.die()
	return true
}

// Commit implements playbooks.Journal.
func (p *process) Commit(ctx context.Context, change soar.Change) (soar.Committed, error) {
	p.mu.Lock()
	p.commits++
	n := p.commits
	p.mu.Unlock()
	if p.dead() || p.dies("commit", n) {
		p.ended() // elsewhere may have found it dead
		return soar.Committed{}, errDead
	}
	committed, err := p.Store.Commit(ctx, change)
	if err != nil {
		return committed, err
	}
	if i := slices.IndexFunc(change.Entries, func(e soar.Entry) bool { return e.Step == step }); i >= 0 {
		p.mu.Lock()
		p.sending = change.Entries[len(change.Entries)-1].Kind == soar.EntryIntent
		p.mu.Unlock()
	}
	if p.dies("committed", n) {
		return soar.Committed{}, errDead
	}
	return committed, nil
}

// Pending implements playbooks.Journal.
func (p *process) Pending(ctx context.Context, after int64, limit int) ([]soar.StoredAlert, error) {
	if p.dead() {
		return nil, errDead
	}
	return p.Store.Pending(ctx, after, limit)
}

// Due implements playbooks.Journal.
func (p *process) Due(ctx context.Context, now time.Time, limit int) ([]soar.Run, error) {
	if p.dead() {
		return nil, errDead
	}
	return p.Store.Due(ctx, now, limit)
}
