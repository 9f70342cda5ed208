package guard

import (
	"slices"
	"time"
)

// tally counts the different hosts that calls acted on within a time.
type tally struct {
	key         string // starts those of its hosts in the journal
	hosts       hostBook
	n           int    // how many different hosts there are
	first, last *touch // of all touches, oldest first
	slots       int    // the highest one there was
}

// hostBook has the touches of each host, those of all tallies together: most calls count
// for several, and looking a host up is what takes the time.
type hostBook map[string]*hostTouches

// hostTouches are the touches of one host.
type hostTouches struct{ of []tallyTouches }

type tallyTouches struct {
	t    *tally
	list []*touch // oldest first
}

// touch is a call that acted on a host.
type touch struct {
	host string
	all  *hostTouches
	at   time.Time
	kept bool // in the journal, in the place of the one before it
	gone bool
	// slot tells touches of one host apart that are being committed at the same time: the
	// commit that ends last must not be taken for the latest.
	slot       int
	prev, next *touch
}

// everyHost stands for the whole fleet; no host has an empty identifier.
const everyHost = ""

// host is where the touches of a host are.
func (b hostBook) host(id string) *hostTouches {
	h := b[id]
	if h == nil {
		h = &hostTouches{}
		b[id] = h
	}
	return h
}

// in are the touches of a tally; nil: none.
func (h *hostTouches) in(t *tally) *tallyTouches {
	if h != nil {
		for i := range h.of {
			if h.of[i].t == t {
				return &h.of[i]
			}
		}
	}
	return nil
}

// add counts a host that is acted on.
func (t *tally) add(id string, h *hostTouches, at time.Time) *touch {
	one := &touch{host: id, all: h, at: at}
	mine := h.in(t)
	if mine == nil || len(mine.list) == 0 {
		t.n++
	}
	if mine == nil {
		h.of = append(h.of, tallyTouches{t: t})
		mine = &h.of[len(h.of)-1]
	}
	for slices.ContainsFunc(mine.list, func(o *touch) bool { return !o.kept && o.slot == one.slot }) {
		one.slot++
	}
	t.slots = max(t.slots, one.slot)
	i := len(mine.list)
	for i > 0 && mine.list[i-1].at.After(at) { // only while it is loaded
		i--
	}
	mine.list = slices.Insert(mine.list, i, one)
	t.link(one)
	return one
}

// link puts a touch in its place among all.
func (t *tally) link(one *touch) {
	one.prev = t.last
	for one.prev != nil && one.prev.at.After(one.at) { // only while it is loaded
		one.prev = one.prev.prev
	}
	if one.prev == nil {
		one.next, t.first = t.first, one
	} else {
		one.next, one.prev.next = one.prev.next, one
	}
	if one.next == nil {
		t.last = one
	} else {
		one.next.prev = one
	}
}

// remove takes a touch back.
func (t *tally) remove(one *touch) {
	if one.gone {
		return
	}
	one.gone = true
	if one.prev == nil {
		t.first = one.next
	} else {
		one.prev.next = one.next
	}
	if one.next == nil {
		t.last = one.prev
	} else {
		one.next.prev = one.prev
	}
	mine := one.all.in(t)
	if mine.list = slices.DeleteFunc(mine.list, func(o *touch) bool { return o == one }); len(mine.list) > 0 {
		return
	}
	t.n--
	if one.all.of = slices.DeleteFunc(one.all.of, func(o tallyTouches) bool { return o.t == t }); len(one.all.of) == 0 && t.hosts[one.host] == one.all {
		delete(t.hosts, one.host)
	}
}

// keep notes that a touch is in the journal: those of the same host that were there
// before it count no more. Commits do not end in the order of the touches, so that a
// later one may be there already.
func (t *tally) keep(one *touch) {
	if one.gone {
		return
	}
	one.kept = true
	var last *touch // that is kept
	for _, o := range slices.Backward(one.all.in(t).list) {
		switch {
		case !o.kept:
		case last == nil:
			last = o
		default:
			t.remove(o)
		}
	}
}

// clear forgets all hosts.
func (t *tally) clear() {
	for t.first != nil {
		t.remove(t.first)
	}
}

// expire forgets what is no longer within the window.
func (t *tally) expire(now time.Time, window time.Duration) {
	for t.first != nil && !now.Before(t.first.at.Add(window)) {
		t.remove(t.first)
	}
}

// live is how many different hosts count at a time.
func (t *tally) live(now time.Time, window time.Duration) int {
	n := t.n
	for one := t.first; one != nil && !now.Before(one.at.Add(window)); one = one.next {
		if mine := one.all.in(t); mine.list[0] == one && !mine.live(now, window) { // each host once
			n--
		}
	}
	return n
}

// live reports whether a host counts at a time.
func (t *tallyTouches) live(now time.Time, window time.Duration) bool {
	return t != nil && len(t.list) > 0 && now.Before(t.list[len(t.list)-1].at.Add(window))
}
