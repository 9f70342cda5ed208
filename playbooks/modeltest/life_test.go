package modeltest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// The moments at which a life may end.
const (
	beforeCommit = "before a commit"
	afterCommit  = "after a commit"
	beforeCall   = "before a call arrives"
	afterCall    = "before the answer of a call arrives"
)

var moments = []string{beforeCommit, afterCommit, beforeCall, afterCall}

// life is one process of the engine, from its start until it is cut off. It is the
// journal that the engine works with: what is dead writes nothing.
type life struct {
	disk
	w      *world
	engine *playbooks.Engine
	cancel context.CancelFunc
	died   chan struct{}
	ended  chan error

	mu     sync.Mutex
	dead   bool   // guarded by mu
	moment string // at which it ends; empty: none; guarded by mu
	left   int    // of those moments until then; guarded by mu
}

// begin starts a process on what the ones before left behind.
func (w *world) begin() {
	l := &life{disk: w.disk, w: w, died: make(chan struct{}), ended: make(chan error, 1)}
	client, err := connector.New(connector.Options{
		URL: "http://127.0.0.1", BasePath: w.sim.BasePath(), Username: "admin", Password: soar.SecretValue("admin"),
		Transport: wire{l}, Dial: wire{l}.dial,
	})
	w.must(err)
	g, err := guard.New(w.plan.settings)
	w.must(err)
	all := map[string]playbooks.Action{}
	for name, action := range actions.All(actions.Deps{Client: client, Server: "er"}) {
		all[name] = watch(w, action)
	}
	l.engine, err = playbooks.NewEngine(l, all, w.read(all), playbooks.EngineOptions{
		Guard: g, Log: w.log(), MaxHold: w.plan.hold, Drain: time.Second, ClockOffset: client.ClockOffset, Workers: 16,
	})
	w.must(err)
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(w.t.Context()))
	go func() { l.ended <- l.engine.Run(ctx) }()
	w.life, w.actions = l, all
}

// stop ends the process in good order, unless it is dead.
func (l *life) stop() {
	l.cancel()
	if err := <-l.ended; err != nil && !l.gone() && !errors.Is(err, context.Canceled) {
		l.w.wrong("the engine ended: %v", err)
	}
	l.die() // nothing of it goes on
}

func (l *life) gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *life) die() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

func (l *life) end() {
	if !l.dead {
		l.dead = true
		close(l.died)
		l.cancel()
	}
}

// doom lets the process end at the nth of such moments from now on.
func (l *life) doom(moment string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moment, l.left = moment, n
}

// meets passes a moment, and tells whether the process is dead.
func (l *life) meets(moment string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.moment == moment && !l.dead {
		if l.left--; l.left <= 0 {
			l.w.reach("crash " + moment)
			l.end()
		}
	}
	return l.dead
}

// Commit implements playbooks.Journal.
func (l *life) Commit(ctx context.Context, change soar.Change) (soar.Committed, error) {
	if l.meets(beforeCommit) {
		return soar.Committed{}, errDead
	}
	if err := l.w.diskTrouble(); err != nil {
		return soar.Committed{}, err
	}
	done, err := l.disk.Commit(ctx, change)
	if l.meets(afterCommit) {
		return soar.Committed{}, errDead
	}
	return done, err
}
