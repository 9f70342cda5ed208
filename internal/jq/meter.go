package jq

import (
	"context"
	"fmt"
	"strings"

	"github.com/itchyny/gojq"
)

// meter is the context of one Run. gojq asks Done before each instruction, which
// makes it the place to count them: a program has an end that does not depend on
// how fast the machine is, and what the interpreter keeps for itself (the stacks of
// a recursion, the items of an array) is paid for.
type meter struct {
	context.Context
	run  *run
	done <-chan struct{}
	over error
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done charges for one instruction.
func (m *meter) Done() <-chan struct{} {
	if m.over != nil {
		return closed
	}
	if m.over = m.run.charge(m.run.program.price); m.over != nil {
		return closed
	}
	return m.done
}

func (m *meter) Err() error {
	if m.over != nil {
		return m.over
	}
	return m.Context.Err()
}

// result makes a value that the program yields plain, and charges for the copy.
func (r *run) result(v any) (any, error) {
	if err, failed := r.small(v).(error); failed {
		return nil, err
	}
	return plain(v)
}

// room charges for a call that makes factor times as much of its input.
func (r *run) room(v, factor any) any {
	w := walker{}
	if err := w.walk(v, 0); err != nil {
		return err
	}
	n, _ := factor.(int)
	if err := r.charge(n * (w.bytes + 16*w.nodes)); err != nil {
		return err
	}
	return v
}

// pieces charges for what splitting a text makes.
func (r *run) pieces(v, separator any) any {
	text, _ := v.(string)
	if sep, ok := separator.(string); ok {
		if err := r.charge(32 * (strings.Count(text, sep) + 1)); err != nil {
			return err
		}
	}
	return v
}

// copies charges for the objects and arrays on a path, each of which setpath copies.
func (r *run) copies(v, path any) any {
	parts, _ := path.([]any)
	for at := v; ; parts = parts[1:] {
		var bytes int
		var next any
		switch at := at.(type) {
		case []any:
			bytes = 16 * len(at)
			if i, ok := gojq.ToInt(first(parts)); ok && i >= 0 {
				bytes = 16 * max(len(at), i+1)
				if i < len(at) {
					next = at[i]
				}
			}
		case map[string]any:
			bytes = objectBytes(len(at))
			if key, ok := first(parts).(string); ok {
				next = at[key]
			}
		default:
			bytes = objectBytes(1)
		}
		if len(parts) == 0 {
			return v
		}
		if err := r.charge(bytes); err != nil {
			return err
		}
		at = next
	}
}

func first(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// object charges for an object that the program writes down.
func (r *run) object(v any) any {
	if m, ok := v.(map[string]any); ok {
		if err := r.charge(objectBytes(len(m))); err != nil {
			return err
		}
	}
	return v
}

// objectBytes is what a Go map of so many keys takes, roughly.
func objectBytes(keys int) int { return 320 + 64*max(keys-8, 0) }

// made charges for a path, of which the interpreter has a copy at each level.
func (r *run) made(v any) any {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("expected an array but got: %s", preview(v))
	}
	if err := r.charge(48 * len(list)); err != nil {
		return err
	}
	return v
}
