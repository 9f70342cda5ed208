package jq

import (
	"context"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/itchyny/gojq"
)

// meter is the context of one Run. gojq asks Done before each instruction, which
// makes it the place to count them: a program has an end that does not depend on
// how fast the machine is, and what the interpreter keeps for itself (the stacks of
// a recursion, the items of an array) is paid for. When it is over, gojq drops what
// a try has set up to catch, so that no program goes on by catching limits.
type meter struct {
	context.Context
	run   *run
	count uint
	over  error
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// lookEvery is how many instructions pass between two looks at the clock. Several of
// them can go through a long text each, and that takes milliseconds.
const lookEvery = 8

// Done charges for one instruction. It is never closed by itself, which spares a
// timer for every condition of every playbook.
func (m *meter) Done() <-chan struct{} {
	if m.over == nil {
		m.over = m.run.over
	}
	if m.over == nil {
		m.over = m.run.charge(m.run.program.price)
	}
	if m.over == nil && m.count%lookEvery == 0 {
		m.over = m.run.look()
	}
	m.count++
	if m.over != nil {
		return closed
	}
	return nil
}

func (m *meter) Err() error {
	if m.over != nil {
		return m.over
	}
	return m.Context.Err()
}

// What counts at most of the time from one look to the next: as long as instructions
// take, and as a call in one piece takes. Beyond that, others had the processor.
// Without it, what an expression says would depend on the load of the machine.
const (
	longestGap  = 10 * time.Millisecond
	longestCall = 50 * time.Millisecond
)

// look tells when the time is over, which runs from the first look.
func (r *run) look() error {
	now := time.Now()
	if !r.looked.IsZero() {
		most := longestGap
		if r.long {
			most = longestCall
		}
		r.spent += min(now.Sub(r.looked), most)
	}
	r.looked, r.long = now, false
	if r.spent > r.program.timeout {
		return fmt.Errorf("%w: took longer than %s", ErrLimit, r.program.timeout)
	}
	return r.ctx.Err()
}

// lookBefore is look ahead of a call that may take long.
func (r *run) lookBefore() error {
	err := r.look()
	r.long = true
	return err
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

// sorted charges for a sort of items, which keeps a key and a place for each of
// them, and a group of its own besides.
func (r *run) sorted(v, keys any) any {
	if err, failed := r.small(keys).(error); failed {
		return err
	}
	items, _ := v.([]any)
	if err := r.search(float64(4 * len(items) * bits.Len(uint(len(items))))); err != nil {
		return err
	}
	if err := r.charge(128 * len(items)); err != nil {
		return err
	}
	return v
}

// places charges for the search of a part: texts become arrays of characters, of
// which each place is compared.
func (r *run) places(v, part any) any {
	w := walker{}
	if err := w.walk(v, 0); err != nil {
		return err
	}
	if err := r.charge(128 * (w.nodes + w.bytes)); err != nil {
		return err
	}
	return r.product(v, part)
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
