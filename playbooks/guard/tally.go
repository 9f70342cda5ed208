package guard

import (
	"container/list"
	"slices"
	"time"
)

// tally counts the different hosts that calls acted on within a time.
type tally struct {
	key   string                     // starts those of its hosts in the journal
	hosts map[string][]*list.Element // the touches of each, oldest first
	order *list.List                 // of *touch, oldest first
	slots int                        // the highest one there was
}

// touch is a call that acted on a host.
type touch struct {
	host string
	at   time.Time
	kept bool // in the journal, in the place of the one before it
	gone bool
	// slot tells touches of one host apart that are being committed at the same time: the
	// commit that ends last must not be taken for the latest.
	slot int
}

// everyHost stands for the whole fleet; no host has an empty identifier.
const everyHost = ""

func newTally(key string) *tally {
	return &tally{key: key, hosts: map[string][]*list.Element{}, order: list.New()}
}

// add counts a host that is acted on.
func (t *tally) add(host string, at time.Time) *list.Element {
	one := &touch{host: host, at: at}
	taken := func(e *list.Element) bool { o := e.Value.(*touch); return !o.kept && o.slot == one.slot }
	for slices.ContainsFunc(t.hosts[host], taken) {
		one.slot++
	}
	t.slots = max(t.slots, one.slot)
	before := t.order.Back()
	for before != nil && before.Value.(*touch).at.After(at) { // only while it is loaded
		before = before.Prev()
	}
	var e *list.Element
	if before == nil {
		e = t.order.PushFront(one)
	} else {
		e = t.order.InsertAfter(one, before)
	}
	touches := t.hosts[host]
	later := func(o *list.Element) bool { return o.Value.(*touch).at.After(at) }
	if i := slices.IndexFunc(touches, later); i >= 0 {
		t.hosts[host] = slices.Insert(touches, i, e)
	} else {
		t.hosts[host] = append(touches, e)
	}
	return e
}

// remove takes a touch back.
func (t *tally) remove(e *list.Element) {
	one := e.Value.(*touch)
	if one.gone {
		return
	}
	one.gone = true
	t.order.Remove(e)
	if rest := slices.DeleteFunc(t.hosts[one.host], func(o *list.Element) bool { return o == e }); len(rest) > 0 {
		t.hosts[one.host] = rest
	} else {
		delete(t.hosts, one.host)
	}
}

// keep notes that a touch is in the journal: those of the same host that were there
// before it count no more. Commits do not end in the order of the touches, so that a
// later one may be there already.
func (t *tally) keep(e *list.Element) {
	one := e.Value.(*touch)
	if one.gone {
		return
	}
	one.kept = true
	if len(t.hosts[one.host]) == 1 {
		return
	}
	var kept []*list.Element
	for _, o := range t.hosts[one.host] {
		if o.Value.(*touch).kept {
			kept = append(kept, o)
		}
	}
	for _, o := range kept[:len(kept)-1] {
		t.remove(o)
	}
}

// expire forgets what is no longer within the window.
func (t *tally) expire(now time.Time, window time.Duration) {
	for e := t.order.Front(); e != nil && !now.Before(e.Value.(*touch).at.Add(window)); e = t.order.Front() {
		t.remove(e)
	}
}

// live is how many different hosts count at a time.
func (t *tally) live(now time.Time, window time.Duration) int {
	n := len(t.hosts)
	for e := t.order.Front(); e != nil && !now.Before(e.Value.(*touch).at.Add(window)); e = e.Next() {
		if one := e.Value.(*touch); !t.has(one.host, now, window) && t.hosts[one.host][0] == e { // each host once
			n--
		}
	}
	return n
}

// has reports whether a host counts at a time.
func (t *tally) has(host string, now time.Time, window time.Duration) bool {
	touches := t.hosts[host]
	return len(touches) > 0 && now.Before(touches[len(touches)-1].Value.(*touch).at.Add(window))
}
