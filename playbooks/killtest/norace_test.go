//go:build !race

package killtest

// Every action is played, and killed at every moment.
const (
	actionStride = 1
	momentStride = 1
)
