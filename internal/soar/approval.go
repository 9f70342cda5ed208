package soar

import "time"

// Approval is a question to people: whether a call may be sent, or what a playbook
// asks them, and what they answered.
type Approval struct {
	ID    string        `json:"id"`
	State ApprovalState `json:"state"`
	// Run and Step are what waits for the answer.
	Run      RunID  `json:"run"`
	Step     string `json:"step"`
	Playbook string `json:"playbook"`
	// Action and With are the call exactly as it would be sent, with what looks like a
	// secret taken out. A question of a playbook has neither.
	Action string         `json:"action,omitempty"`
	With   map[string]any `json:"with,omitempty"`
	// Hosts are those that the call acts on, as people call them.
	Hosts []string `json:"hosts,omitempty"`
	// Call names the call: an agreement counts for no other.
	Call string `json:"call"`
	// Text is the question in words.
	Text string `json:"text"`
	// Alert is the Alert.Ref of what the run is about; empty for a run without one.
	Alert string `json:"alert,omitempty"`
	// Requester is the person who started the run; empty when nobody did.
	Requester string `json:"requester,omitempty"`
	// From are the groups and people who may decide; empty means everybody who can reach
	// erbridge. With NotRequester, the requester may not.
	From         []string `json:"from,omitempty"`
	NotRequester bool     `json:"not_requester,omitempty"`
	// Count is how many people have to agree. One who does not is enough to deny.
	Count   int       `json:"count"`
	AskedAt time.Time `json:"asked_at"`
	Expires time.Time `json:"expires"`
	// Silence tells that no answer until Expires counts as an agreement.
	Silence bool `json:"silence,omitempty"`
	// Votes are the answers of people, in their order.
	Votes []Vote `json:"votes,omitempty"`
	// DecidedAt is when the last answer was in that counted, or when the question became
	// void; Why says why it did.
	DecidedAt time.Time `json:"decided_at,omitzero"`
	Why       string    `json:"why,omitempty"`
	// Round counts how often the step has asked: again when the call has changed.
	Round int `json:"round,omitempty"`
	// EndedAt is when the step ended; zero while it may still act on the answer.
	EndedAt time.Time `json:"ended_at,omitzero"`
}

// Vote is one person's answer.
type Vote struct {
	By     string `json:"by"`
	Agree  bool   `json:"agree"`
	Reason string `json:"reason,omitempty"`
	Via    string `json:"via,omitempty"` // how it came in, as the other side says: command line of root
	// User is who the operating system says it came from; nil where it does not say.
	User *SystemUser `json:"user,omitempty"`
	At   time.Time   `json:"at"`
}

// ApprovalState is where an approval stands.
type ApprovalState string

// The states. Only a waiting approval can be decided.
const (
	ApprovalWaiting  ApprovalState = "waiting"
	ApprovalApproved ApprovalState = "approved"
	ApprovalDenied   ApprovalState = "denied"
	ApprovalExpired  ApprovalState = "expired"
	ApprovalVoid     ApprovalState = "void" // the call has changed, or its step has ended
)

// Agreed is how many people have agreed so far.
func (a *Approval) Agreed() (n int) {
	for i := range a.Votes {
		if a.Votes[i].Agree {
			n++
		}
	}
	return n
}
