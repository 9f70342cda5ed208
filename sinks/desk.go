package sinks

import (
	"context"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Desk is what people may do from a chat. Each call returns after it is on disk, and
// has a person's name, never that of an account in the chat. Times are absolute, so that
// a click which arrives twice does the same as one that arrives once. Errors are for
// that person to read.
type Desk interface {
	// Person is who an account of a chat belongs to, by the links in the
	// configuration; ok is false for accounts that nobody is linked to.
	Person(chat, account string) (name string, ok bool)
	// Approval finds a request by its id; soar.ErrNotFound when there is none.
	Approval(ctx context.Context, id string) (soar.Approval, error)
	// Decide adds a vote.
	Decide(ctx context.Context, id string, v soar.Vote) (soar.Approval, error)
	// Undo takes back what a run, or one step of it, has done.
	Undo(ctx context.Context, run soar.RunID, step, by, reason string) (words string, err error)
	// Extend moves the time at which a run's effects are taken back.
	Extend(ctx context.Context, run soar.RunID, step string, until time.Time, by, reason string) (words string, err error)
	// Resolve closes an alert on the server, by a run that is journalled and guarded as
	// any other. alert is an Alert.Ref.
	Resolve(ctx context.Context, alert, verdict, by, reason string) (words string, err error)
	// Silence keeps alerts like this one out of a sink until a time.
	Silence(ctx context.Context, sink, alert string, until time.Time, by, reason string) (words string, err error)
}
