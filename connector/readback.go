package connector

import (
	"context"
	"errors"
	"fmt"
)

// unreadError is the error of a call that wrote something which then could not be
// read back. It is ErrUncertain: the write stands or may stand, so that nothing else
// that the read's error means, such as that it may be sent again, holds of the whole.
type unreadError struct {
	what string // as in "rule 7"
	lost error  // of the write, if its answer was lost; nil if the server took it
	read error
}

// halfway makes a refusal uncertain where the server does a call step by step, so that
// what comes before the step that it refuses may stand.
func halfway(err error) error {
	if refusal, ok := errors.AsType[*APIError](err); ok && good(refusal.Status) && errors.Is(err, ErrRefused) {
		return partlyError(refusal.Error())
	}
	return err
}

// partlyError is ErrUncertain with the text of a refusal.
type partlyError string

func (e partlyError) Error() string {
	return "refused, after a part of it perhaps was done: " + string(e)
}

func (partlyError) Is(target error) bool { return target == ErrUncertain }

// unread makes an unreadError.
func unread(what string, lost, read error) error { return &unreadError{what, lost, read} }

func (e *unreadError) Error() string {
	read := e.read.Error()
	if answer, ok := errors.AsType[*APIError](e.read); ok { // what it means would be taken for the whole's
		read = fmt.Sprintf("%s %s: HTTP %d: %s", answer.Method, answer.Path, answer.Status, answer.Message)
	}
	if e.lost != nil {
		return fmt.Sprintf("%s: %v; and it could not be read back: %s", e.what, e.lost, read)
	}
	return fmt.Sprintf("%s: the server took it, but it could not be read back: %s", e.what, read)
}

// Is tells of the read's error only that it was called off.
func (e *unreadError) Is(target error) bool {
	switch target {
	case ErrUncertain:
		return true
	case context.Canceled, context.DeadlineExceeded:
		return errors.Is(e.read, target)
	}
	return false
}
