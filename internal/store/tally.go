package store

import "github.com/erbridge/erbridge/internal/soar"

// tally holds the counters of table meta.
type tally [numTallies]int64

const (
	lastAlertKey = iota
	lastFeedPos
	numAlerts
	numPending
	numFeed
	numDeadLetters
	numRedeliveries
	lastAuditSeq
	numTelemetry
	firstRunState // followed by the other run states
	numTallies    = firstRunState + 6
)

var runStates = [numTallies - firstRunState]soar.RunState{
	soar.RunRunning, soar.RunWaiting, soar.RunDone, soar.RunFailed, soar.RunUnknown, soar.RunCancelled,
}

var tallyNames = func() (names [numTallies]string) {
	copy(names[:], []string{"last_alert_key", "last_feed_pos", "alerts", "pending", "feed", "dead_letters", "redeliveries", "last_audit_seq", "telemetry"})
	for i, state := range runStates {
		names[firstRunState+i] = "runs_" + string(state)
	}
	return names
}()

// run counts a run in or out of a state.
func (t *tally) run(state soar.RunState, by int64) {
	for i, s := range runStates {
		if s == state {
			t[firstRunState+i] += by
			return
		}
	}
}

func (t *tally) set(name string, value int64) {
	for i, n := range tallyNames {
		if n == name {
			t[i] = value
			return
		}
	}
}

// Counts says how many of each thing the store holds.
type Counts struct {
	Alerts       int64
	Pending      int64 // alerts that await evaluation
	RunsByState  map[soar.RunState]int64
	Feed         int64 // events kept
	FeedHead     int64 // position of the newest event
	DeadLetters  int64
	Redeliveries int64
	AuditHead    int64 // number of the newest audit record
	Telemetry    int64 // events kept that are rows of telemetry
}

func (t *tally) counts() Counts {
	c := Counts{
		Alerts: t[numAlerts], Pending: t[numPending], RunsByState: make(map[soar.RunState]int64, len(runStates)),
		Feed: t[numFeed], FeedHead: t[lastFeedPos], DeadLetters: t[numDeadLetters], Redeliveries: t[numRedeliveries], AuditHead: t[lastAuditSeq], Telemetry: t[numTelemetry],
	}
	for i, state := range runStates {
		c.RunsByState[state] = t[firstRunState+i]
	}
	return c
}
