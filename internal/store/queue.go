package store

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/erbridge/erbridge/internal/soar"
)

// request is one call of Commit on its way through the committer, or one batch of
// upkeep.
type request struct {
	change rows
	upkeep func() error // instead of change; runs in a transaction of its own
	bytes  int64

	state     atomic.Int32 // queued, taken or withdrawn
	done      chan struct{}
	committed soar.Committed // set before done is closed
	err       error
}

const (
	queued = iota
	claimed
	withdrawn
)

// take claims the request for the committer; false when its caller has gone.
func (r *request) take() bool { return r.state.CompareAndSwap(queued, claimed) }

// withdraw takes the request back; false when the committer has it.
func (r *request) withdraw() bool { return r.state.CompareAndSwap(queued, withdrawn) }

func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

// queue holds requests until the committer takes them, all at once. It is bounded
// in number and in bytes, because a change may be a cursor or a page of alerts.
type queue struct {
	maxRequests int
	maxBytes    int64
	filled      chan struct{} // capacity 1: wakes the committer

	mu       sync.Mutex
	requests []*request
	bytes    int64
	closed   error
	room     chan struct{} // closed when room appears; nil while nobody waits
}

func newQueue(maxRequests int, maxBytes int64) *queue {
	return &queue{maxRequests: maxRequests, maxBytes: maxBytes, filled: make(chan struct{}, 1)}
}

// put waits for room and queues r.
func (q *queue) put(ctx context.Context, r *request) error {
	for {
		room, err := q.offer(r)
		if err != nil || room == nil {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// offer queues r, or returns a channel that is closed when it is worth trying again.
func (q *queue) offer(r *request) (room <-chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return nil, q.closed
	}
	// A request larger than the bound gets in when the queue is empty.
	if len(q.requests) > 0 && (len(q.requests) >= q.maxRequests || q.bytes+r.bytes > q.maxBytes) {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		return q.room, nil
	}
	q.requests = append(q.requests, r)
	q.bytes += r.bytes
	select {
	case q.filled <- struct{}{}:
	default: // the committer is already called
	}
	return nil, nil
}

// take hands out what is queued, oldest first, up to limit requests.
func (q *queue) take(limit int) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	group := q.requests
	if len(group) > limit {
		q.requests = append([]*request(nil), group[limit:]...)
		group = group[:limit:limit]
	} else {
		q.requests = make([]*request, 0, len(group))
	}
	for _, r := range group {
		q.bytes -= r.bytes
	}
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	return group
}

// close refuses what comes from now on with err.
func (q *queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = err
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// load is how full the queue is, from 0 to 1, and how many requests it holds.
func (q *queue) load() (float64, int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	full := max(float64(len(q.requests))/float64(q.maxRequests), float64(q.bytes)/float64(q.maxBytes))
	return min(full, 1), len(q.requests)
}
