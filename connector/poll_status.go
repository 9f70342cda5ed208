package connector

import (
	"context"
	"fmt"
	"time"
)

// PollStatus tells how polling goes.
type PollStatus struct {
	LastSuccess time.Time
	LastError   string // empty while it goes well
	Newest      time.Time
	LastSweep   time.Time // that went well
}

// Status tells how polling goes. A server that keeps a poll waiting shows as an
// error long before the client gives up on it.
func (p *Poller) Status() PollStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := p.status
	if silent := p.silent(); silent > 0 {
		status.LastError = fmt.Sprintf("the server has not answered for %s", silent.Round(time.Second))
	}
	return status
}

// silent is how long the server has kept a poll waiting, if too long; p.mu is held.
func (p *Poller) silent() time.Duration {
	if p.asked.IsZero() {
		return 0
	}
	if waited := p.env.Now().Sub(p.asked); waited >= pollPatience {
		return waited
	}
	return 0
}

// hears notes that a poll has begun, or has got an answer.
func (p *Poller) hears(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = now
}

// ended notes how a poll ended.
func (p *Poller) ended(began time.Time, err error) {
	now := p.env.Now()
	p.metrics.seconds.Observe(now.Sub(began).Seconds())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = time.Time{}
	if err != nil {
		p.status.LastError = err.Error()
		return
	}
	p.status.LastError, p.status.LastSuccess, p.status.Newest = "", now, p.cursor.Newest
}

// watch says so once when the server keeps a poll waiting, and once when it is over.
func (p *Poller) watch(ctx context.Context) {
	stuck := false
	for pause(ctx, pollWatch) == nil {
		p.mu.Lock()
		silent := p.silent()
		p.mu.Unlock()
		switch {
		case silent > 0 && !stuck:
			p.env.Log.Warn("the server does not answer", "for", silent.Round(time.Second))
		case silent == 0 && stuck:
			p.env.Log.Info("the server answers again, or the poll was given up")
		}
		stuck = silent > 0
	}
}
