//go:build !race

package killtest

// stride is how far apart the moments are at which a process is killed.
const stride = 1
