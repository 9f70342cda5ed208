package connector

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"strconv"
)

const (
	maxListed = 10_000_000 // rows of one walk; more is a server that makes rows up
	maxIdle   = 1000       // pages in a row without a new row
	maxBack   = 8          // pages that one gap is searched for
	keptIDs   = 8192       // how far back a row is known again, at the least
)

// list walks through the pages of a list by offset, in constant memory.
//
// Lists move while they are read. Each page begins with the last row of the one
// before. If nothing in it is known, rows went away in front and others slid over
// the border: the walk goes back until it meets a row that it has given. Rows that
// come again, because the list grew in front, are given once, as long as it did not
// grow by thousands within one page. A malformed row is given as a *MalformedError
// and the walk goes on; any other error ends it.
func list[T any](ctx context.Context, size int, page func(ctx context.Context, start, limit int) (Page[T], error),
	id func(*T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if size <= 0 {
			size = defaultPageSize
		}
		size = max(size, 2) // a page must have room for more than the row it begins with
		var zero T
		seen := newWindow(max(keptIDs, 4*size))
		start, given, idle, back := 0, 0, 0, 0
		top, same := "", 0 // first row of the page before, and for how many pages
		for given < maxListed && idle < maxIdle {
			p, err := page(ctx, start, size)
			if err != nil {
				yield(zero, err)
				return
			}
			got := len(p.Results) + len(p.Malformed)
			if start > 0 && back < maxBack && !known(seen, p, id) {
				back++
				start = max(start-(size-1), 0)
				continue
			}
			back = 0
			fresh := given
			for _, bad := range p.Malformed {
				if !seen.add(malformedKey(bad)) {
					continue
				}
				given++
				if !yield(zero, bad) {
					return
				}
			}
			for i := range p.Results {
				if row := &p.Results[i]; seen.add(id(row)) {
					given++
					if !yield(*row, nil) {
						return
					}
				}
			}
			if got < size {
				return
			}
			if given > fresh {
				idle = 0
				start += got - 1
			} else {
				idle++
				start += got // the list may grow as fast as it is read
			}
			first := firstKey(p, id)
			if same++; first != top {
				top, same = first, 0
			}
			if idle > 0 && same >= 3 { // the server does not heed start
				if p.Count > given {
					yield(zero, stuck(given, p.Count))
				}
				return
			}
		}
		yield(zero, fmt.Errorf("list does not end: %d rows, the last %d pages without a new one", given, idle))
	}
}

// stuck is the error of a walk that the server does not let go on.
func stuck(given, count int) error {
	return fmt.Errorf("the list stops after %d of %d rows: the server gives the same page again", given, count)
}

// listFrom walks like list, from *start on and *limit rows at a time: two fields of
// the query that page sends.
func listFrom[T any](ctx context.Context, start, limit *int, page func(ctx context.Context) (Page[T], error),
	id func(*T) string) iter.Seq2[T, error] {
	first := *start
	return list(ctx, *limit, func(ctx context.Context, at, size int) (Page[T], error) {
		*start, *limit = first+at, size
		return page(ctx)
	}, id)
}

// idKey is the key of a row with an id.
func idKey(id int64) string { return strconv.FormatInt(id, 10) }

// after walks through a list of which each page is asked for by the id of the last
// row seen, newest first, so that nothing can come twice or be missed. Within a page
// the rows may be in any order.
func after[T any](ctx context.Context, size int, page func(ctx context.Context, last int64, limit int) (Page[T], error),
	id func(*T) int64) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if size <= 0 {
			size = defaultPageSize
		}
		var zero T
		last := int64(0) // the newest
		for given := 0; given < maxListed; {
			p, err := page(ctx, last, size)
			if err != nil {
				yield(zero, err)
				return
			}
			for _, bad := range p.Malformed {
				given++
				if !yield(zero, bad) {
					return
				}
			}
			before := last
			for i := range p.Results {
				n := id(&p.Results[i])
				if before != 0 && n >= before {
					continue
				}
				if last == 0 || n < last {
					last = n
				}
				given++
				if !yield(p.Results[i], nil) {
					return
				}
			}
			switch {
			case len(p.Results)+len(p.Malformed) < size:
				return
			case last == before: // rows that cannot be read tell no id to go on after
				if p.Count > given {
					yield(zero, stuck(given, p.Count))
				}
				return
			}
		}
		yield(zero, fmt.Errorf("list has more than %d rows", maxListed))
	}
}

// known reports whether a page holds a row that was given before.
func known[T any](seen *window, p Page[T], id func(*T) string) bool {
	for i := range p.Results {
		if seen.has(id(&p.Results[i])) {
			return true
		}
	}
	for _, bad := range p.Malformed {
		if seen.has(malformedKey(bad)) {
			return true
		}
	}
	return false
}

func firstKey[T any](p Page[T], id func(*T) string) string {
	switch {
	case len(p.Results) > 0:
		return id(&p.Results[0])
	case len(p.Malformed) > 0:
		return malformedKey(p.Malformed[0])
	}
	return ""
}

func malformedKey(bad *MalformedError) string {
	return "malformed " + strconv.Quote(clip(string(bad.Raw), 1024))
}

// window remembers the last keys added to it.
type window struct {
	keys map[string]struct{}
	ring []string
	next int
}

func newWindow(size int) *window {
	return &window{keys: make(map[string]struct{}), ring: make([]string, size)}
}

func (w *window) has(key string) bool {
	_, ok := w.keys[short(key)]
	return ok
}

// short is a long key's SHA-256: rows without an id are known by all that they hold.
func short(key string) string {
	if len(key) <= 64 {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return string(sum[:])
}

// add remembers a key and reports whether it was new.
func (w *window) add(key string) bool {
	if key = short(key); w.has(key) {
		return false
	}
	delete(w.keys, w.ring[w.next])
	w.ring[w.next] = key
	w.keys[key] = struct{}{}
	w.next = (w.next + 1) % len(w.ring)
	return true
}
