package playbooks

import (
	"io/fs"
	"syscall"
)

// changeTime is when anything about a file was last changed, in nanoseconds; 0 when
// it is not known.
func changeTime(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ctim.Nano()
	}
	return 0
}
