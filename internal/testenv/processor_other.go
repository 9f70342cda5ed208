//go:build !unix

package testenv

import (
	"testing"
	"time"
)

// ProcessorTime is not known on this system.
func ProcessorTime(testing.TB) time.Duration { return 0 }
