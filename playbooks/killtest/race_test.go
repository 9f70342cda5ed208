//go:build race

package killtest

// stride is how far apart the moments are at which a process is killed: the race
// detector makes each life many times as long, and every moment is tried without it.
const stride = 10
