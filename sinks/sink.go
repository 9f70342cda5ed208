// Package sinks delivers events to chat, syslog and SIEM. A sink sends a batch
// and says how it went; everything else (batching, retry, back-off, order, dead
// letters, metrics) is written once in the forwarder.
package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// Sink is a destination. One goroutine calls it at a time.
type Sink interface {
	// Send delivers the events in order. nil means that the receiver has all of
	// them. The error decides what the forwarder does:
	//
	//	*PartialError  some items failed; the others are delivered
	//	*LostError     delivered, except for some that the receiver does not name
	//	*RetryAfter    try the batch again, not before
	//	ErrPermanent   the batch will never be taken: dead letters
	//	ErrConfig      401, 403, 404, wrong certificate: pause the sink, keep everything
	//	ErrGone        410: send nothing more until a person says so, keep everything
	//	ErrTooLarge    send it in halves
	//	anything else  transient: back off and try again
	Send(ctx context.Context, events []soar.Event) error
	// Close releases connections. Send is not called afterwards.
	Close() error
}

// Errors that a sink wraps.
var (
	ErrPermanent = errors.New("will never be accepted")
	ErrConfig    = errors.New("configuration is refused")
	ErrTooLarge  = errors.New("too large")
	// ErrGone is 410: the receiver asks not to be tried again. It wraps ErrConfig.
	ErrGone = fmt.Errorf("receiver is gone: %w", ErrConfig)
)

// RetryAfter asks for a pause.
type RetryAfter struct {
	Wait time.Duration
	Err  error
}

func (e *RetryAfter) Error() string { return fmt.Sprintf("%v (retry after %s)", e.Err, e.Wait) }
func (e *RetryAfter) Unwrap() error { return e.Err }

// PartialError tells the items of a batch apart. Items that are in neither map
// are delivered.
type PartialError struct {
	Permanent map[int]error // index in the batch to reason
	Transient map[int]error
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("%d items refused, %d items to try again", len(e.Permanent), len(e.Transient))
}

// verdict is what Send returns for a batch of n: nil where no item failed, and the
// reason itself for a batch of one.
func (e *PartialError) verdict(n int) error {
	switch {
	case len(e.Permanent)+len(e.Transient) == 0:
		return nil
	case n == 1 && e.Permanent[0] != nil:
		return e.Permanent[0]
	case n == 1:
		return e.Transient[0]
	}
	return e
}

// oneRefused is the error of a batch of n of which nothing was taken because of
// one item: that one is refused for good, the others can be sent again.
func oneRefused(item, n int, err error) error {
	if n == 1 {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	p := &PartialError{Permanent: map[int]error{item: err}, Transient: map[int]error{}}
	for i := range n {
		if i != item {
			p.Transient[i] = errors.New("not taken because of another event of the request")
		}
	}
	return p
}

// Runner is implemented by sinks that have something to do besides Send, such as
// listening for clicks. The daemon runs it as long as the sink is open.
type Runner interface {
	// Run works until ctx ends. An error is told as trouble, and Run is called
	// again after a while; Send does not depend on it.
	Run(ctx context.Context) error
}

// Type is a kind of sink, as in `type: splunk`.
type Type struct {
	Summary string
	// Settings is a pointer to a settings struct that holds the defaults.
	Settings any
	// Example is the YAML of one sink, without its name.
	Example string
	// MaxBatch bounds the events of one Send; 1 for chat.
	MaxBatch int
	// MaxBatchBytes and MaxBatchAge are used when the configuration does not say:
	// how large a batch may be (0 is 1 MiB), and how long its first event waits for
	// others. Receivers of files want few large ones.
	MaxBatchBytes int
	MaxBatchAge   time.Duration
	// StormUpdate is set for types that people read: when more like alerts come than
	// they can, the others are counted, and how many is told no sooner than after this
	// time. It doubles with every update.
	StormUpdate time.Duration
	// Events are what a sink of this type gets when its configuration does not
	// say; nil means DefaultEvents.
	Events []soar.EventType
	// Open makes the sink from decoded settings (same type as Settings). It opens
	// no connection.
	Open func(name string, settings any, env Env) (Sink, error)
}

// Env is what sinks get from the daemon.
type Env struct {
	Log *slog.Logger
	// Version is erbridge's own version, for headers and product fields.
	Version string
	// State keeps small durable values of one sink, such as the message that an
	// alert has in a chat.
	State State
	// Now is the clock.
	Now func() time.Time
	// Desk carries out what people decide in a chat; nil where nothing listens,
	// as in sinks test.
	Desk Desk
	// Paces are shared by sinks that write to the same place; nil: this one is alone.
	Paces *Paces
}

func (e *Env) pacesOrOwn() *Paces {
	if e.Paces == nil {
		return &Paces{}
	}
	return e.Paces
}

// State is a sink's durable memory.
type State interface {
	Get(ctx context.Context, key string) (value string, err error) // soar.ErrNotFound
	Set(ctx context.Context, key, value string, keep time.Duration) error
}

// Types are the sinks that configuration may name.
var Types = registry.NewSet[Type]("sink type")
