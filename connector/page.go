package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// Page is one page of a list.
type Page[T any] struct {
	// Count is how many rows match the filter, Total how many there are without
	// the search text. Releases differ in detail; neither says when to stop.
	Count, Total int
	// Results are the rows, in the server's order.
	Results []T
	// Malformed are the rows that could not be read. The others are unharmed.
	Malformed []*MalformedError
}

// MalformedError is a row of a list that could not be read.
type MalformedError struct {
	Reason string
	Raw    json.RawMessage // at most 1 MiB
}

// Error says why the row could not be read.
func (e *MalformedError) Error() string { return "malformed row: " + e.Reason }

const (
	defaultPageSize = 100
	maxListed       = 1_000_000 // rows of one List; more is a server that ignores start
	maxMalformed    = 1 << 20
)

// rows reads a page, or a bare array of rows. row returns an error for a row that
// lacks what a row must have; the row is then kept as it came.
func rows[T any](d *decoder, row func(*decoder, *T) error) Page[T] {
	var page Page[T]
	results := func() {
		page.Results = make([]T, 0, 16)
		d.array(func() {
			d.space()
			start := d.pos
			var v T
			err := row(d, &v)
			if d.err != nil {
				return
			}
			if err == nil {
				page.Results = append(page.Results, v)
				return
			}
			raw := d.data[start:d.pos]
			page.Malformed = append(page.Malformed, &MalformedError{
				Reason: err.Error(), Raw: json.RawMessage(clipBytes(raw, maxMalformed)),
			})
		})
	}
	if d.peek() == '[' {
		results()
		page.Count = len(page.Results)
		page.Total = page.Count
		return page
	}
	d.object(func(key string) {
		switch key {
		case "count":
			page.Count = d.count()
		case "total_count":
			page.Total = d.count()
		case "results":
			results()
		default:
			d.skip()
		}
	})
	return page
}

func clipBytes(b []byte, limit int) []byte {
	if len(b) > limit {
		b = b[:limit]
	}
	return append([]byte(nil), b...)
}

var errNotObject = errors.New("not an object")

// list walks through the pages of a list by offset. Rows that turn up twice,
// because the list grew in front, are given once. A malformed row is given as a
// *MalformedError and the listing goes on; any other error ends it.
func list[T any](ctx context.Context, size int, page func(ctx context.Context, start, limit int) (Page[T], error),
	id func(*T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if size <= 0 {
			size = defaultPageSize
		}
		var zero T
		seen := make(map[string]bool)
		stale := 0
		for start := 0; start < maxListed; {
			p, err := page(ctx, start, size)
			if err != nil {
				yield(zero, err)
				return
			}
			for _, bad := range p.Malformed {
				if !yield(zero, bad) {
					return
				}
			}
			fresh := 0
			for i := range p.Results {
				row := &p.Results[i]
				key := id(row)
				if seen[key] {
					continue
				}
				seen[key] = true
				fresh++
				if !yield(*row, nil) {
					return
				}
			}
			got := len(p.Results) + len(p.Malformed)
			if got < size {
				return
			}
			// One page of repeats is a list that grew by a page meanwhile; two are
			// a server that ignores start.
			if stale++; fresh > 0 {
				stale = 0
			}
			if stale == 2 {
				return
			}
			start += got
		}
		yield(zero, fmt.Errorf("list has more than %d rows", maxListed))
	}
}
