package sinks

import (
	"context"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Desk is what people may do from a chat. Each call returns after it is on disk
// and has a person's name, never that of an account in the chat.
type Desk interface {
	// Person is who an account of a chat belongs to, by the links in the
	// configuration; ok is false for accounts that nobody is linked to.
	Person(chat, account string) (name string, ok bool)
	// Approval finds a request by its id.
	Approval(ctx context.Context, id string) (soar.Approval, error)
	// Decide adds a vote.
	Decide(ctx context.Context, id string, v soar.Vote) (soar.Approval, error)
	// Undo takes back what a run, or one step of it, has done.
	Undo(ctx context.Context, run soar.RunID, step, by, reason string) (words string, err error)
	// Extend moves the time at which a run's effects are taken back.
	Extend(ctx context.Context, run soar.RunID, step string, by time.Duration, who, reason string) (words string, err error)
	// Resolve closes an alert on the server, by a run that is journalled as any other.
	Resolve(ctx context.Context, alert, verdict, by, reason string) (words string, err error)
	// Silence keeps alerts like this one out of a sink for a while.
	Silence(ctx context.Context, sink string, alert *soar.Alert, keep time.Duration, by, reason string) (words string, err error)
}
