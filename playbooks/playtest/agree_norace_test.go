//go:build !race

package playtest

// agreeAlerts is how many alerts are compared.
const agreeAlerts = 10_000
