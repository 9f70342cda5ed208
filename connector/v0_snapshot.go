package connector

import (
	"context"
	"time"
)

const (
	// snapshotPages is how long later pages of a list come from the same reading.
	snapshotPages = time.Minute
	// snapshotBeside is how long a list beside does that is made of the same rows.
	snapshotBeside = 5 * time.Second
)

// snapshot keeps a list of API v0, which comes whole or not at all, between the
// calls for its pages: a walk through the pages sees one state of the list, and
// costs one reading.
type snapshot[T any] struct {
	turn chan struct{} // holds one token: who has it may read and write the rest
	rows []T
	of   string // what was read
	at   time.Time
}

func newSnapshot[T any]() snapshot[T] {
	return snapshot[T]{turn: make(chan struct{}, 1)}
}

// page returns the rows for a page that begins at start. The first page reads the
// list anew, unless it is that of a list beside, for which the rows of the main list
// do that were read a moment ago.
func (s *snapshot[T]) page(ctx context.Context, of string, start int, beside bool, read func(context.Context) ([]T, error)) ([]T, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	age := time.Since(s.at)
	if of == s.of && (start > 0 && age < snapshotPages || beside && age < snapshotBeside) {
		return s.rows, nil
	}
	rows, err := read(ctx)
	if err != nil {
		return nil, err
	}
	s.rows, s.of, s.at = rows, of, time.Now()
	return rows, nil
}
