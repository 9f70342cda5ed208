//go:build !unix

package sinks

import "os"

// lockFile does nothing where there is no flock.
func lockFile(*os.File) (taken bool, err error) { return false, nil }

func unlockFile(*os.File) error { return nil }
