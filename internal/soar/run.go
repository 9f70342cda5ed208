package soar

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// RunID identifies a run: 42 bits of milliseconds since 2020 and 21 bits of
// counter, so that ids sort by time. Its text has 13 characters of Crockford's
// base 32.
type RunID int64

const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

var (
	runEpoch   = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	runCounter atomic.Int64
)

// NewRunID makes an id for a run that starts now.
func NewRunID(now time.Time) RunID {
	return RunID(now.Sub(runEpoch).Milliseconds()<<21 | runCounter.Add(1)&(1<<21-1))
}

// String is the id as users see it.
func (id RunID) String() string {
	var text [13]byte
	for i, v := len(text)-1, uint64(id); i >= 0; i, v = i-1, v>>5 {
		text[i] = crockford[v&31]
	}
	return string(text[:])
}

// RunIDAt is the least id of runs that begin at t or later.
func RunIDAt(t time.Time) RunID { return RunID(max(t.Sub(runEpoch).Milliseconds(), 0) << 21) }

// ParseRunID reads the text form in any case.
func ParseRunID(text string) (RunID, error) {
	if len(text) != 13 {
		return 0, fmt.Errorf("run id %q: expected 13 characters, such as %s", text, RunID(1<<50))
	}
	var v uint64
	for _, c := range strings.ToLower(text) {
		digit := strings.IndexRune(crockford, c)
		if digit < 0 {
			return 0, fmt.Errorf("run id %q: %q is not a letter or digit of an id", text, c)
		}
		v = v<<5 | uint64(digit)
	}
	return RunID(v), nil
}

// MarshalText writes the text form.
func (id RunID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *RunID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseRunID(string(text))
	return err
}

// Mode is how far a playbook may go.
type Mode string

// The modes. Observe evaluates everything and sends no call with an effect; approve
// sends one when a person has agreed to it.
const (
	ModeObserve Mode = "observe"
	ModeApprove Mode = "approve"
	ModeEnforce Mode = "enforce"
)

// RunState is where a run stands.
type RunState string

// The run states. Running and waiting are the unended ones.
const (
	RunRunning   RunState = "running"
	RunWaiting   RunState = "waiting" // for Wake: a command, a retry or a settling look-up
	RunDone      RunState = "done"
	RunFailed    RunState = "failed"
	RunUnknown   RunState = "unknown" // a once step may or may not have happened; a person settles it
	RunCancelled RunState = "cancelled"
)

// Ended reports whether nothing more happens in this state by itself.
func (s RunState) Ended() bool { return s != RunRunning && s != RunWaiting }

// Run is one playbook working on one alert. PC and Wake are the engine's; the
// store keeps them so that a waiting run is a row and nothing in memory. Where
// a run stands is told by its journal.
type Run struct {
	ID        RunID     `json:"id"`
	AlertKey  int64     `json:"-"`
	Alert     string    `json:"alert"` // Alert.Ref
	Playbook  string    `json:"playbook"`
	Version   string    `json:"version"` // content hash of the playbook
	Mode      Mode      `json:"mode"`
	State     RunState  `json:"state"`
	PC        int       `json:"pc"`            // index of the first step under way, for people
	Wake      time.Time `json:"wake,omitzero"` // when a waiting run is looked at again
	Epoch     int       `json:"epoch"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Error     string    `json:"error,omitempty"`
}

// EntryKind is the kind of a journal entry.
type EntryKind string

// The entry kinds.
const (
	EntryIntent   EntryKind = "intent"   // a call is about to be sent
	EntrySent     EntryKind = "sent"     // the server gave a command id
	EntryResult   EntryKind = "result"   // a step has ended
	EntryDecision EntryKind = "decision" // what the guard or a person said
	EntryNote     EntryKind = "note"     // anything else worth knowing
)

// Entry is one line of a run's journal, append-only; (Run, Seq) is unique. The
// journal is what recovery reads and what an auditor reads.
type Entry struct {
	Run  RunID           `json:"run"`
	Seq  int             `json:"seq"`
	At   time.Time       `json:"at"`
	Step string          `json:"step,omitempty"`
	Kind EntryKind       `json:"kind"`
	Ref  string          `json:"ref,omitempty"` // the server's command id; one command belongs to one entry
	Body json.RawMessage `json:"body,omitempty"`
}

// StepState is where a step stands.
type StepState string

// The step states. A time-out is never a success: it ends failed, expired or
// unknown.
const (
	StepPlanned    StepState = "planned"
	StepSent       StepState = "sent"
	StepAccepted   StepState = "accepted"   // the server took the command
	StepExecuted   StepState = "executed"   // the host reported that it did it
	StepVerified   StepState = "verified"   // an independent look confirmed it
	StepFailed     StepState = "failed"     // certainly did not happen, or happened wrongly
	StepRefused    StepState = "refused"    // the guard or the server said no
	StepExpired    StepState = "expired"    // accepted, and never executed in time
	StepCancelled  StepState = "cancelled"  // withdrawn before it was executed
	StepSuppressed StepState = "suppressed" // cool-down
	StepObserved   StepState = "observed"   // observe mode: would have been sent
	StepSkipped    StepState = "skipped"    // its if was false
	StepUnknown    StepState = "unknown"    // may or may not have happened
)

// OK reports whether later steps may build on it.
func (s StepState) OK() bool {
	switch s {
	case StepExecuted, StepVerified, StepObserved, StepSkipped, StepSuppressed:
		return true
	}
	return false
}
