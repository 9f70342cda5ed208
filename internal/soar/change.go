package soar

import "time"

// Change is one atomic unit of durable work. Whoever has something to remember
// fills a Change and hands it to the store's Commit, which returns after it is on
// disk, or with an error and nothing of it kept. Fields are applied in the order
// in which they stand here.
type Change struct {
	// Alerts are taken in. A known alert (same Server and ID) is dropped when
	// nothing in it changed; when its status, verdict, comment or event count
	// changed, the stored copy is replaced and the feed gets alert.updated. A new alert
	// becomes pending evaluation and the feed gets alert.received; one that has
	// changed becomes pending when its Origin starts playbooks.
	Alerts []Alert
	// Hands say who changed alerts, by index in Alerts. Without one, it was an analyst.
	Hands map[int]Hand
	// Noted are changes of notes: each becomes alert.updated in the feed and, when
	// its Origin starts playbooks, makes its alert pending. One of an unknown alert is
	// dropped.
	Noted []Noted
	// Cursors are the places up to which sources have read.
	Cursors []Cursor
	// Playbooks are kept by hash, so that a run can go on with the version it
	// began with; a known hash is left alone.
	Playbooks []PlaybookVersion
	// Evaluated ends the pending evaluation of alerts and keeps the verdicts.
	Evaluated []Evaluation
	// Runs are inserted or replaced by id.
	Runs []Run
	// Entries are appended to the journal. A repeated (Run, Seq) fails the Change
	// with ErrConflict and leaves the other Changes of the group alone.
	Entries []Entry
	// Events are appended to the feed in order; the store sets Pos.
	Events []Event
	// KV are small values of the guard: cool-downs, switches. An empty Value deletes.
	KV []KV
	// Acts go into the audit record and nowhere else.
	Acts []Act
	// Sinks move delivery cursors.
	Sinks []SinkCursor
	// DeadLetters are added; their ID is set by the store.
	DeadLetters []DeadLetter
	// Redeliver queues events for one sink again (replayed dead letters).
	Redeliver []Redelivery
	// Redelivered removes entries of that queue, by Redelivery.ID.
	Redelivered []int64
	// EditDeadLetters gives dead letters another payload.
	EditDeadLetters []DeadLetterEdit
	// DropDeadLetters removes dead letters, by DeadLetter.ID.
	DropDeadLetters []int64
}

// DeadLetterEdit is another payload for a dead letter. One that is gone stays gone.
type DeadLetterEdit struct {
	ID      int64
	Payload []byte
}

// Committed tells what a Change did, where the caller cannot know it.
type Committed struct {
	New     []int // indexes into Change.Alerts of alerts never seen before
	Updated []int // indexes of known alerts that had changed
	Known   int   // how many were dropped as repeats
}

// Cursor is how far a source has read. Value is the source's own JSON.
type Cursor struct {
	Source string
	Value  []byte
}

// PlaybookVersion is the text of a playbook, by the hash of its content.
type PlaybookVersion struct {
	Hash   string
	Name   string
	Source []byte
}

// Evaluation ends the evaluation of one alert. Verdicts holds only what matched
// or failed: playbook name to "match", "suppressed: ..." or "error: ...".
type Evaluation struct {
	AlertKey int64
	Verdicts map[string]string
}

// KV is a small durable value that may expire.
type KV struct {
	Key     string
	Value   string
	Expires time.Time // zero: never
}

// Act is what a person did that no other part of a Change tells, such as taking a
// switch back, which leaves nothing behind.
type Act struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	What   string    `json:"what"`
	Reason string    `json:"reason,omitempty"`
}

// SinkCursor is how far a sink has delivered.
type SinkCursor struct {
	Sink string
	Pos  int64
}

// Redelivery is an event that one sink shall deliver again.
type Redelivery struct {
	ID    int64
	Sink  string
	Event Event
}

// StoredAlert is an alert with its key and what became of it.
type StoredAlert struct {
	Key        int64             `json:"-"`
	Alert      Alert             `json:"alert"`
	ReceivedAt time.Time         `json:"received_at"`
	Pending    string            `json:"pending,omitempty"` // "", "alert" or "alert.updated"
	Change     *AlertChange      `json:"change,omitempty"`  // why it is pending, where that is alert.updated
	Verdicts   map[string]string `json:"verdicts,omitempty"`
}
