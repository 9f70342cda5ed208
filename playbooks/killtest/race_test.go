//go:build race

package killtest

// The race detector makes each life of a process many times as long. So with it only
// one action of five is played, and killed at every tenth moment; all of them are played,
// at every moment, without it.
const (
	actionStride = 5
	momentStride = 10
)
