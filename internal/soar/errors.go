package soar

import "errors"

// Errors that packages hand to one another.
var (
	// ErrConflict means that a journal entry with that number exists: another
	// worker went on with the run.
	ErrConflict = errors.New("journal entry exists")
	// ErrNotFound means that there is no such alert, run, sink or dead letter.
	ErrNotFound = errors.New("not found")
	// ErrBusy means that the store's queue is full; try again a moment later.
	ErrBusy = errors.New("store is busy")
	// ErrNotAccepting means that the store cannot write (disk full, shutting
	// down) and takes nothing until it can.
	ErrNotAccepting = errors.New("store accepts nothing")
	// ErrTooLarge means that an alert or event is too large to be kept. The same one
	// will always be.
	ErrTooLarge = errors.New("too large to be kept")
)
