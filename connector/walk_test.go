package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
)

// walkIDs walks through a list that page cuts pages from.
func walkIDs(t *testing.T, size int, page func(given []int64, start, limit int) Page[int64]) (ids []int64, pages int) {
	t.Helper()
	walk := list(t.Context(), size, func(_ context.Context, start, limit int) (Page[int64], error) {
		pages++
		return page(ids, start, limit), nil
	}, func(id *int64) string { return strconv.FormatInt(*id, 10) })
	for id, err := range walk {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids, pages
}

func cut(rows []int64, start, limit int) Page[int64] {
	start = min(start, len(rows))
	return Page[int64]{Results: rows[start:min(start+limit, len(rows))]}
}

func descending(from, to int64) (ids []int64) {
	for id := from; id >= to; id-- {
		ids = append(ids, id)
	}
	return ids
}

// TestListWhileItMoves walks through lists that change between two pages: every
// row that is there all the time must come, and none twice.
func TestListWhileItMoves(t *testing.T) {
	for _, tt := range []struct {
		name   string
		size   int
		change func(given, rows []int64) []int64 // before a page is cut
		want   []int64
	}{
		{"nothing moves", 3, func(_, rows []int64) []int64 { return rows }, descending(20, 1)},
		{"one row a page", 1, func(_, rows []int64) []int64 { return rows }, descending(20, 1)},
		{"two new rows before each page", 3, func(given, rows []int64) []int64 {
			if len(given) > 0 && len(given) < 10 {
				rows = append([]int64{rows[0] + 2, rows[0] + 1}, rows...)
			}
			return rows
		}, descending(20, 1)},
		{"every row that was given goes away", 4, func(given, rows []int64) []int64 {
			return slices.DeleteFunc(rows, func(id int64) bool { return slices.Contains(given, id) })
		}, descending(20, 1)},
		{"all but the last rows go away", 4, func(given, rows []int64) []int64 {
			if len(given) == 4 {
				return descending(5, 1)
			}
			return rows
		}, append(descending(20, 17), descending(5, 1)...)},
		{"more than a page grows in front", 3, func(given, rows []int64) []int64 {
			if len(given) == 5 && rows[0] == 20 {
				rows = append(descending(40, 21), rows...)
			}
			return rows
		}, descending(20, 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows := descending(20, 1)
			ids, _ := walkIDs(t, tt.size, func(given []int64, start, limit int) Page[int64] {
				rows = tt.change(given, rows)
				return cut(rows, start, limit)
			})
			// Rows that are new meanwhile may come as well.
			ids = slices.DeleteFunc(ids, func(id int64) bool { return id > 20 })
			if !slices.Equal(ids, tt.want) {
				t.Errorf("got %v, want %v", ids, tt.want)
			}
		})
	}
}

func TestListKeepsFewIDs(t *testing.T) {
	const rows = 100_000
	n := 0
	w := newWindow(keptIDs)
	for i := range rows {
		if w.add(strconv.Itoa(i)) {
			n++
		}
	}
	if n != rows || len(w.keys) != keptIDs || w.has("0") || !w.has(strconv.Itoa(rows-1)) || w.add(strconv.Itoa(rows-1)) {
		t.Errorf("%d added, %d kept", n, len(w.keys))
	}
}

func TestListGivesMalformedRowsOnce(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Start, Limit int }
		_ = json.NewDecoder(r.Body).Decode(&in)
		rows := []json.RawMessage{[]byte(`{"id":5}`), []byte(`{"id":4}`), []byte(`{"odd":1}`), []byte(`{"id":2}`), []byte(`{"odd":2}`)}
		start := min(in.Start, len(rows))
		text, err := json.Marshal(rows[start:min(start+in.Limit, len(rows))])
		if err != nil {
			t.Error(err)
		}
		answerJSON(w, 200, fmt.Sprintf(`{"status":"success","data":{"count":5,"results":%s}}`, text))
	})
	var ids []int64
	odd := 0
	for a, err := range newClient(t, server.URL).Alerts.List(t.Context(), AlertQuery{Limit: 3}) {
		if _, malformed := errors.AsType[*MalformedError](err); malformed {
			odd++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	if !slices.Equal(ids, []int64{5, 4, 2}) || odd != 2 {
		t.Errorf("got %v and %d odd rows", ids, odd)
	}
}

func TestListEndsWhenTheServerIgnoresStart(t *testing.T) {
	var calls atomic.Int32
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		answerJSON(w, 200, `{"status":"success","data":{"results":[{"id":2},{"id":1}]}}`)
	})
	n := 0
	for _, err := range newClient(t, server.URL).Hosts.List(t.Context(), HostQuery{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 || calls.Load() != 4 {
		t.Errorf("%d rows in %d calls", n, calls.Load())
	}
}

// TestListEnds walks through a list that has new rows for ever, and one in which
// no row is ever met again.
func TestListEnds(t *testing.T) {
	_, pages := walkIDs(t, 2, func(_ []int64, start, _ int) Page[int64] {
		if start > 1000 {
			return Page[int64]{}
		}
		return Page[int64]{Results: []int64{int64(start)*100 + 1, int64(start)*100 + 2}}
	})
	if pages > 20_000 {
		t.Errorf("%d pages", pages)
	}
}

func TestAfterWalksByLastID(t *testing.T) {
	rows := descending(20, 1)
	var asked []int64
	walk := after(t.Context(), 6, func(_ context.Context, last int64, limit int) (Page[int64], error) {
		asked = append(asked, last)
		rows = append([]int64{rows[0] + 1}, rows...) // it grows meanwhile
		from := 0
		if last > 0 {
			from = slices.IndexFunc(rows, func(id int64) bool { return id < last })
		}
		return cut(rows, from, limit), nil
	}, func(id *int64) int64 { return *id })
	var ids []int64
	for id, err := range walk {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if !slices.Equal(ids, descending(21, 1)) || !slices.Equal(asked, []int64{0, 16, 10, 4}) {
		t.Errorf("got %v, asked %v", ids, asked)
	}
}
