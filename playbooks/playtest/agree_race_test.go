//go:build race

package playtest

// agreeAlerts is how many alerts are compared: fewer, since the race detector makes all
// of it many times as long. The numbers are compared without it.
const agreeAlerts = 800
