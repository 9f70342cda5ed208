package sinks

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// Paces keep a least time between the calls that sinks make to the same place: two sinks
// that write to one channel of a chat share what the chat allows there. The zero value
// works, and it is safe for concurrent use.
type Paces struct {
	mu    sync.Mutex
	next  map[paceKey]time.Time
	names map[paceKey]string // of channels: their ids, as the chat told them
}

// paceKey names a place: an account by the hash of its secret, and a channel there.
type paceKey struct {
	account [sha256.Size]byte
	place   string
}

// paceOf is the place of a channel, or of another bound, of the account behind a secret.
func paceOf(secret, place string) paceKey {
	return paceKey{sha256.Sum256([]byte(secret)), place}
}

// wait waits until it is this call's turn: interval after the one before it.
func (p *Paces) wait(ctx context.Context, key paceKey, interval time.Duration) error {
	d := time.Until(p.turn(key, interval))
	if d <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
	}
	return nil
}

// turn takes the next free moment at a place.
func (p *Paces) turn(key paceKey, interval time.Duration) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, ok := p.names[key]; ok {
		key.place = id
	}
	at := time.Now()
	if next := p.next[key]; next.After(at) {
		at = next
	}
	if p.next == nil {
		p.next = map[paceKey]time.Time{}
	}
	p.next[key] = at.Add(interval)
	return at
}

// called notes that a channel which is configured by name has an id: another sink may be
// configured with that.
func (p *Paces) called(key paceKey, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id == "" || id == key.place || p.names[key] == id {
		return
	}
	if p.names == nil {
		p.names = map[paceKey]string{}
	}
	p.names[key] = id
	byID := paceKey{key.account, id}
	if p.next[byID].Before(p.next[key]) {
		p.next[byID] = p.next[key]
	}
	delete(p.next, key)
}
