package playbooks

import (
	"context"
	"encoding/json"
	"math"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// Journal is what the engine needs of the store. Implementations are safe for
// concurrent use.
type Journal interface {
	// Commit makes a change durable, or returns an error and keeps nothing of it.
	// A repeated (Run, Seq) is soar.ErrConflict.
	Commit(ctx context.Context, change soar.Change) (soar.Committed, error)
	// Changed returns a channel that is closed at the next commit touching sig.
	Changed(sig soar.Signal) <-chan struct{}

	Pending(ctx context.Context, after int64, limit int) ([]soar.StoredAlert, error)
	AlertByKey(ctx context.Context, key int64) (soar.StoredAlert, error)
	Running(ctx context.Context) ([]soar.Run, error)
	Due(ctx context.Context, now time.Time, limit int) ([]soar.Run, error)
	NextWake(ctx context.Context) (time.Time, error)
	GetRun(ctx context.Context, id soar.RunID) (soar.Run, error)
	Entries(ctx context.Context, id soar.RunID) ([]soar.Entry, error)
	RefClaimed(ctx context.Context, ref string) (bool, error)
	PlaybookVersion(ctx context.Context, hash string) (soar.PlaybookVersion, error)
	KV(ctx context.Context, prefix string) ([]soar.KV, error)
}

// The bodies of journal entries. They are read by recovery and shown to people;
// a field that is added later must be optional.

// BeganNote is the body of a run's first note: what was read before it started,
// so that it sees the same after a restart.
type BeganNote struct {
	Text         string         `json:"text"`
	Enrich       map[string]any `json:"enrich,omitempty"`
	EnrichErrors map[string]any `json:"enrich_errors,omitempty"`
	EnrichStatus map[string]any `json:"enrich_status,omitempty"`
	Host         any            `json:"host,omitempty"`
	// Calls are the versions of the playbooks that the run may call, by name.
	Calls map[string]string `json:"calls,omitempty"`
	// On is what started the run, where that was no alert of its own, and Extra what
	// expressions see of it.
	On    string         `json:"on,omitempty"`
	Extra map[string]any `json:"extra,omitempty"`
	// Group is set for the run of a group. Its alerts follow in a note of their own,
	// which has nothing but Members, the keys of the alerts.
	Group   *GroupWindow `json:"group,omitempty"`
	Members []int64      `json:"members,omitempty"`
	// By is the person who started the run.
	By string `json:"by,omitempty"`
	// Job is set for a part of a job over many hosts.
	Job *guard.Job `json:"job,omitempty"`
	// Undo is set for a run that takes back what another did. Turn is the body of a note of
	// its own, about the time at which such a run begins.
	Undo *UndoNote `json:"undo,omitempty"`
	Turn *TurnNote `json:"turn,omitempty"`
}

// GroupWindow is what the alerts of a group have in common, and until when they join.
type GroupWindow struct {
	Key   string    `json:"key"`
	Until time.Time `json:"until"`
}

// GroupNote is the body of the note with which a group of steps begins: one that is
// done for each item of a list, one whose branches go side by side, or a playbook that
// is called.
type GroupNote struct {
	Text         string         `json:"text"`
	Begun        string         `json:"begun"` // for_each, parallel, call
	Items        []any          `json:"items,omitempty"`
	Vars         map[string]any `json:"vars,omitempty"`
	Enrich       map[string]any `json:"enrich,omitempty"`
	EnrichErrors map[string]any `json:"enrich_errors,omitempty"`
	EnrichStatus map[string]any `json:"enrich_status,omitempty"`
	Host         any            `json:"host,omitempty"`
}

// StepNote is the body of a note about a step. Retry is the number of the attempt
// that follows; Started is when the step began.
type StepNote struct {
	Text    string    `json:"text"`
	Error   string    `json:"error,omitempty"`
	Retry   int       `json:"retry,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Until   time.Time `json:"until,omitzero"` // when that attempt is made
	// Carried is set when the attempt before it may have been carried out.
	Carried bool `json:"carried,omitempty"`
}

// Intent is the body of an intent entry: the call exactly as it is about to be sent.
type Intent struct {
	Action  string         `json:"action"`
	Effect  Effect         `json:"effect"`
	With    map[string]any `json:"with"`
	Mark    string         `json:"mark"`
	Attempt int            `json:"attempt"`
	Started time.Time      `json:"started"`
	// Again is set when the same call was about to be sent before, and a look-up showed that
	// it was never received, or that to send it twice is as good as once.
	Again bool `json:"again,omitempty"`
	// Foreseen is what the call leaves as output, by how it was before it; nil where the
	// action need not know that to take it back.
	Foreseen any `json:"foreseen,omitempty"`
}

// left is what a call left by which it can be taken back. The output of one that was sent
// again tells only of what the last one had left to do.
func (i *Intent) left(output any) any {
	if i.Foreseen != nil && (i.Again || output == nil) {
		return i.Foreseen
	}
	return output
}

// Sent is the body of a sent entry, whose Ref is the server's command id.
type Sent struct {
	Target  string         `json:"target,omitempty"`
	Summary string         `json:"summary,omitempty"`
	With    map[string]any `json:"with,omitempty"` // for reading actions, which have no intent
	Started time.Time      `json:"started"`
	Found   bool           `json:"found,omitempty"` // by looking it up, after the answer was lost
}

// Decision is the body of a decision entry: of the guard, or of a person.
type Decision struct {
	Answers []Answer `json:"answers,omitempty"`
	// Since is when a step that waits for the guard began to.
	Since time.Time `json:"since,omitzero"`
	// AlertWas is the status of the alert then.
	AlertWas string `json:"alert_was,omitempty"`
	// Approval is what people answered, where they were asked.
	Approval *soar.Approval `json:"approval,omitempty"`
	By       string         `json:"by,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Happened *bool          `json:"happened,omitempty"`
	// Waits is set while the step waits.
	Waits *Waits `json:"waits,omitempty"`
	// Cancel is set when a person called off the step, or the whole run.
	Cancel bool `json:"cancel,omitempty"`
	// Due is set when a person moved the time at which a run begins.
	Due time.Time `json:"due,omitzero"`
}

// Result is the body of a result entry. Without the arguments, it is what
// expressions see as .steps.<id>.
type Result struct {
	Action  string         `json:"action"`
	State   soar.StepState `json:"state"`
	Output  any            `json:"output,omitempty"`
	Error   string         `json:"error,omitempty"`
	Summary string         `json:"summary,omitempty"`
	Target  string         `json:"target,omitempty"`
	Ref     string         `json:"ref,omitempty"`
	With    map[string]any `json:"with,omitempty"` // what would have been sent
	// Granted is the answer to a question: whether people agreed.
	Granted *bool `json:"granted,omitempty"`
	// Undo is the call that takes it back; nil where there is none, or nothing to take back.
	Undo *Reversal `json:"undo,omitempty"`
}

// visible is the result as expressions see it.
func (r *Result) visible() map[string]any {
	seen := map[string]any{"state": string(r.State), "output": r.Output, "error": orNull(r.Error), "summary": orNull(r.Summary), "ref": orNull(r.Ref)}
	if r.Granted != nil {
		seen["granted"] = *r.Granted
	}
	return seen
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// maxOutput bounds what an action's output may take in the journal.
const maxOutput = 1 << 20

// plainOutput brings an output to plain JSON values. What is plain already stays
// as it is; actions do not change what they have handed over.
func plainOutput(v any) (plain any, err error) {
	if size, ok := plainSize(v, 0); ok {
		if size > maxOutput {
			return nil, errOutputTooLarge
		}
		return v, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(data) > maxOutput {
		return nil, errOutputTooLarge
	}
	err = json.Unmarshal(data, &plain)
	return plain, err
}

// plainSize is about how many bytes a plain JSON value takes as text; false when it
// is not plain, or deeper than anything reasonable.
func plainSize(v any, depth int) (size int, ok bool) {
	switch v := v.(type) {
	case nil, bool:
		return 5, true
	case float64:
		return 8, !math.IsNaN(v) && !math.IsInf(v, 0)
	case string:
		return len(v) + 2, utf8.ValidString(v)
	case []any:
		for _, item := range v {
			n, ok := plainSize(item, depth+1)
			if size += n + 1; !ok || depth > 100 || size > maxOutput {
				return size, ok && depth <= 100
			}
		}
		return size + 2, true
	case map[string]any:
		for key, item := range v {
			n, ok := plainSize(item, depth+1)
			if size += n + len(key) + 4; !ok || depth > 100 || size > maxOutput || !utf8.ValidString(key) {
				return size, ok && depth <= 100 && utf8.ValidString(key)
			}
		}
		return size + 2, true
	}
	return 0, false
}
