package soar

// Signal names a part of the store whose change others wait for.
type Signal int

// The signals.
const (
	SignalAlerts      Signal = iota // new alerts await evaluation, with keys above all others
	SignalAlertsAgain               // alerts that were there before await evaluation, once more
	SignalFeed                      // the feed has grown
	SignalRuns                      // a run was added or has a new wake time
	SignalRedeliver                 // events were queued for redelivery
	NumSignals                      // how many there are
)
