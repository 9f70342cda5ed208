// Package playbooks is the engine: it loads playbooks, matches alerts with them
// and works through their steps. It knows nothing of HTTP and nothing of the
// Endpoint Response server; what can be done there comes in as actions.
package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// Effect says what repeating an action costs.
type Effect string

// The effects.
const (
	Reads      Effect = "reads"      // changes nothing
	Repeatable Effect = "repeatable" // twice is as good as once
	Once       Effect = "once"       // twice is harm
)

// Spec describes an action. Documentation, JSON Schema and lint come from it.
type Spec struct {
	Name    string // as in YAML: host.contain
	Summary string // one sentence
	Effect  Effect
	// Needs lists what the server or host must have, in words: enterprise,
	// response, windows.
	Needs []string
	// Inverse is the action that undoes it, or empty.
	Inverse string
	// Kind is what it works on at a host, such as containment, and Sense in which
	// direction: contain, release. A host has one open call of a kind at a time. Without
	// Sense, only the very same call is a repeat.
	Kind, Sense string
	// Everywhere marks an action that acts on all hosts at once, such as an indicator.
	Everywhere bool
	// Harmless marks an action with an effect that changes what is said of a host and
	// nothing on it, such as a tag or a note. Protected hosts may be told of by it; a tag
	// by which a host is protected it cannot take away.
	Harmless bool
	// Asks makes an action a question to people, and reads it from the arguments: the guard
	// asks them, and the step ends with their answer. Do is not called.
	Asks func(with map[string]any) (*guard.Question, error)
	// Input is a pointer to a settings struct that holds the defaults.
	Input any
	// Output is a zero value of what .steps.<id> will hold, for the reference page.
	Output any
	// Example is the YAML of one step.
	Example string
	// Timeout bounds the whole step once its call may be sent, unless the step sets its
	// own.
	Timeout time.Duration
	// PollTimeout bounds one Poll where that takes long, such as one that downloads;
	// zero means the bound of every call.
	PollTimeout time.Duration
	// OfAlert marks an action that takes from the alert at hand what with leaves open,
	// such as the host: what it read for one alert is not the answer for another.
	OfAlert bool
	// Inside marks an action of which nothing leaves the process before its result is
	// in the journal. Tests of playbooks carry it out; all others they stand in for.
	Inside bool
	// Waits marks an action that lets time pass and does nothing else: it is no look-up for
	// enrich.
	Waits bool
	// Always marks an action with an effect outside the endpoints that is carried
	// out in observe mode as well, such as sending a message to the analysts.
	Always bool
}

// Action is one capability. Implementations are safe for concurrent use.
type Action interface {
	Spec() Spec

	// Check looks at the with block of a step before anything runs. Values that
	// are computed at run time are absent from with and named in dynamic.
	Check(file string, step StepSource) registry.Problems

	// Do carries the action out, or starts it. With an error, nothing of a
	// Outcome counts except Target. The error decides what happens next:
	// ErrUncertain (may have happened), ErrTransient (did not happen, may be tried
	// again), anything else (did not happen and never will this way). From an action
	// that reads, an error wrapping soar.ErrNotFound says that there is no such thing.
	Do(ctx context.Context, call Call) (Outcome, error)

	// Poll looks at what Do started. It is called until the state is not
	// StepAccepted. An error is logged and polled again until the step's time-out.
	Poll(ctx context.Context, call Call, ref string) (Outcome, error)

	// Find looks for calls like this one (same target, same arguments) that the
	// server took at or after since: it settles a call whose answer was lost. An
	// empty list without an error means that it surely was not received, and the
	// engine sends it again. ErrCannotTell when the server keeps no list of them.
	Find(ctx context.Context, call Call, since time.Time) ([]Found, error)
}

// Errors of actions that the engine acts on.
var (
	// ErrUncertain wraps errors after which a call with an effect may have happened.
	ErrUncertain = errors.New("cannot know whether it happened")
	// ErrTransient wraps errors of calls that surely did not happen and may go
	// through later: connection refused, 429, 503 before anything was done.
	ErrTransient = errors.New("did not happen, may be tried again")
	// ErrCannotTell means that there is nothing to look the call up in.
	ErrCannotTell = errors.New("no record to look it up in")
)

// Pinner is an action whose calls depend on something that is kept beside the playbook,
// such as the text of a reviewed script.
type Pinner interface {
	// Pin returns the arguments of a call together with what it depends on besides, as that
	// is now. The guard is asked about them, people agree to them, and the intent holds
	// them: a call for which that has changed since is another one. with stays as it is.
	Pin(with map[string]any) map[string]any
}

// pinned are the arguments that a call of an action is made with.
func pinned(a Action, with map[string]any) map[string]any {
	if p, depends := a.(Pinner); depends {
		return p.Pin(with)
	}
	return with
}

// Reverser is an action whose calls another one takes back.
type Reverser interface {
	// Reverse returns what takes a call back; nil when there is nothing to take back.
	// output is what the call left, as plain JSON, and nil when nobody knows what came
	// of it: it may have been carried out, or may be still.
	Reverse(call Call, output any) *Reversal
}

// Reversal is a call that takes another one back.
type Reversal struct {
	Do   string         `json:"do"`
	With map[string]any `json:"with"`
	// After is how long the effect is wanted; zero: until somebody takes it back.
	After time.Duration `json:"after,omitempty"`
}

// Call is one evaluated step.
type Call struct {
	Run   soar.RunID
	Step  string // step id, with the attempt: "contain", "contain#2"
	Alert soar.Alert
	// With holds the evaluated arguments: plain JSON values only.
	With map[string]any
	// Mark is a short text unique to this call (run id and step), for notes and
	// names on the server by which Find recognises it.
	Mark string
}

// Outcome is what an action achieved so far.
type Outcome struct {
	// State is StepAccepted while the host still has to do it, and StepExecuted,
	// StepVerified, StepFailed, StepExpired or StepCancelled when it ended.
	State soar.StepState
	// Ref is the server's id of the command, handed to Poll. Set with StepAccepted.
	Ref string
	// PollAfter is how long to wait before the (next) Poll; zero lets the engine choose.
	PollAfter time.Duration
	// Target is the host identifier acted on, where there is one.
	Target string
	// Summary says in a few words what was done, for people.
	Summary string
	// Progress says in words how far a call is that is StepAccepted, where that is known.
	// The journal gets it whenever it has changed.
	Progress string
	// Error says why it failed, as the server or host put it.
	Error string
	// Unverified says of a call that was executed why nobody could look yet whether it
	// had its effect: the host went away, say. It comes with StepAccepted, and Poll is
	// asked again until the time of the step is over; then the step ends failed. An
	// action that has no way to look ends in StepExecuted instead.
	Unverified string
	// Executed tells of StepFailed that the call was carried out all the same, so that there
	// may be something to take back.
	Executed bool
	// Output becomes .steps.<id>.output; any JSON-encodable value.
	Output any
	// Events are for the feed. The engine commits them with the result of the
	// step, so that a crash neither loses nor invents one. Their ID must come from
	// the call (its Mark), because a repeated Do makes them again.
	Events []soar.Event
}

// Found is a call that the server remembers.
type Found struct {
	Ref  string // what Poll takes
	At   time.Time
	Mark string // the mark it carries, when it carries one
}

// StepSource is a step as it stands in the file.
type StepSource struct {
	At      registry.Position
	With    map[string]json.RawMessage // literal arguments
	Dynamic map[string]bool            // arguments that contain ${{ }}
	Places  map[string]registry.Position
	// Parts are the items of those arguments in Dynamic that are mappings: the literal ones
	// as With has arguments, nil for the others.
	Parts map[string]map[string]json.RawMessage
}
