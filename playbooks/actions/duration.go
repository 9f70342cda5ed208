package actions

import "time"

// How long an effect may be wanted that is taken back by itself.
const (
	shortestFor = time.Minute
	longestFor  = 90 * 24 * time.Hour
)

// checkFor looks at the argument for, of actions that are taken back by themselves.
func checkFor(wanted time.Duration, a *arguments) {
	if _, given := a.values["for"]; given && a.known("for") && !a.wrong("for") && (wanted < shortestFor || wanted > longestFor) {
		a.refuse("for", "such as 4h or 7d; leave it out for good", "a time from 1m to 90d is expected")
	}
}
