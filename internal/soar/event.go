package soar

import "time"

// EventType says what an event tells. Sinks route and format by it.
type EventType string

// The event types.
const (
	EventAlertReceived EventType = "alert.received"
	EventAlertUpdated  EventType = "alert.updated"
	EventRunStarted    EventType = "run.started"
	EventStepFinished  EventType = "step.finished" // only for steps with an effect
	EventRunFinished   EventType = "run.finished"
	EventNotification  EventType = "notification" // notify.send, addressed to one sink
	EventTrouble       EventType = "trouble"      // erbridge itself needs a person: sink paused, run unknown, gap found
	EventTest          EventType = "test"         // sinks test

	EventApprovalRequested EventType = "approval.requested" // people are asked whether a call may be sent
	EventApprovalDecided   EventType = "approval.decided"   // they answered, or nobody did in time

	EventUndoSoon EventType = "undo.soon" // what a step did is taken back by itself in a moment, unless a person moves that

	EventAlertGrouped EventType = "alert.grouped" // more alerts like one that was delivered; made by a forwarder, for its sink alone
	EventDigest       EventType = "digest"        // what came in since the last one, counted
	EventHeartbeat    EventType = "heartbeat"     // erbridge is alive, and so is the way to the receiver
	EventTelemetry    EventType = "telemetry"     // a row of a query's result; no playbook sees it
)

// Event is one line of the feed: something a sink may want to deliver. The same
// event always has the same ID, so that receivers can drop a repeat.
type Event struct {
	// Pos is the place in the feed; set by the store.
	Pos int64 `json:"-"`
	// ID is stable across retries and restarts.
	ID   string    `json:"id"`
	Type EventType `json:"type"`
	At   time.Time `json:"at"`
	// Alert is the alert the event is about; nil for trouble and test events.
	Alert *Alert `json:"alert,omitempty"`
	// AlertKey lets the store join the alert instead of keeping it twice. An
	// event may set AlertKey and leave Alert nil; whoever reads the feed gets Alert.
	AlertKey int64 `json:"-"`
	// Change is set for alert.updated: what changed, and by whose hand.
	Change *AlertChange `json:"change,omitempty"`
	// Run is set for events of a run.
	Run *RunSummary `json:"run,omitempty"`
	// Outcome is set for step.finished.
	Outcome *Outcome `json:"outcome,omitempty"`
	// Approval is set for approval.requested and approval.decided.
	Approval *Approval `json:"approval,omitempty"`
	// Undo is set for undo.soon.
	Undo *Undo `json:"undo,omitempty"`
	// Group is set where a sink puts like alerts together.
	Group *Group `json:"group,omitempty"`
	// Row is set for telemetry.
	Row *Row `json:"row,omitempty"`
	// To names the only sink that shall deliver the event; empty means all.
	To string `json:"to,omitempty"`
	// Text is the message of notification, trouble and test events.
	Text string `json:"text,omitempty"`
}

// Group are like alerts of which a sink delivers the first, and then how many more
// there were.
type Group struct {
	// Key is what they have in common.
	Key string `json:"key"`
	// Head is the reference of the first alert, whose message stands for all.
	Head string `json:"head"`
	// Count is how many alerts there are so far, the first one included.
	Count int `json:"count"`
	// Hosts is on how many hosts; Names are some of them.
	Hosts int      `json:"hosts"`
	Names []string `json:"names,omitempty"`
	// First and Last are when the first and the last of them came in.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Runs and Steps count what became of the alerts that have no message of their
	// own: ended runs by state, ended steps as "action state".
	Runs  map[string]int `json:"runs,omitempty"`
	Steps map[string]int `json:"steps,omitempty"`
	// Closed is set when the next like alert begins a new group.
	Closed bool `json:"closed,omitempty"`
}

// Row is a line of a query's result, as the server's push port tells it.
type Row struct {
	Server  string            `json:"server"`
	Query   string            `json:"query"`
	Action  string            `json:"action,omitempty"` // added, removed, snapshot
	Host    Host              `json:"host"`
	At      time.Time         `json:"at"` // when the host saw it
	Columns map[string]string `json:"columns"`
}

// RunSummary is what receivers learn about a run.
type RunSummary struct {
	ID       RunID    `json:"id"`
	Playbook string   `json:"playbook"`
	Mode     Mode     `json:"mode"`
	State    RunState `json:"state"`
	Error    string   `json:"error,omitempty"`
}

// Outcome is how a step with an effect ended.
type Outcome struct {
	Step    string        `json:"step"`
	Action  string        `json:"action"` // host.contain, process.kill, ...
	State   StepState     `json:"state"`
	Target  string        `json:"target,omitempty"`  // host identifier, where there is one
	Command string        `json:"command,omitempty"` // the server's command id
	Summary string        `json:"summary,omitempty"` // what was done, in a few words
	Error   string        `json:"error,omitempty"`
	Took    time.Duration `json:"took_ns,omitempty"`
	// Undo is the action that can take it back, such as host.release; empty where
	// nothing can, or there is nothing to take back.
	Undo string `json:"undo,omitempty"`
	// Of is the run whose effect the step has taken back; zero for all others.
	Of RunID `json:"of,omitzero"`
}

// Undo is what a run is about to take back, and when. That run is Event.Run.
type Undo struct {
	At     time.Time `json:"at"`               // when it begins
	Of     RunID     `json:"of"`               // the run whose effect is taken back
	Step   string    `json:"step"`             // its step
	Action string    `json:"action"`           // what that did: host.contain
	Do     string    `json:"do"`               // what takes it back: host.release
	Target string    `json:"target,omitempty"` // host identifier, where there is one
}

// DeadLetter is something that could not be taken in or delivered, kept with
// its reason until a person replays or drops it.
type DeadLetter struct {
	ID int64 `json:"id"`
	// Origin is "source:<name>" or "sink:<name>".
	Origin string    `json:"origin"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	// EventID is the event's id for sinks; empty for sources.
	EventID string `json:"event_id,omitempty"`
	// Payload is the raw input of a source, or the event as JSON for a sink. At
	// most 1 MiB is kept.
	Payload []byte `json:"payload,omitempty"`
}
