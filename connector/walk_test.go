package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
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

// Rows without an id are known by all that they hold, which may be much.
func TestListKeepsShortKeys(t *testing.T) {
	w := newWindow(2)
	long := strings.Repeat("x", 1<<20)
	if !w.add(long+"1") || !w.add(long+"2") || w.add(long+"1") || !w.has(long+"2") || w.has(long) {
		t.Error("long keys are mixed up")
	}
	for key := range w.keys {
		if len(key) > 64 {
			t.Errorf("a key of %d bytes is kept", len(key))
		}
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
			return Page[int64]{Results: []int64{}}
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

// TestWalkThatCannotGoOn walks through lists whose server gives the same page for
// ever, or pages of nothing but rows that cannot be read, although it counts more.
func TestWalkThatCannotGoOn(t *testing.T) {
	odd := func(n int) (list []*MalformedError) {
		for range n {
			list = append(list, &MalformedError{Reason: "odd"})
		}
		return list
	}
	for _, tt := range []struct {
		name  string
		page  Page[int64]
		ended bool
	}{
		{"more are counted", Page[int64]{Count: 9, Results: descending(9, 7)}, false},
		{"that were all", Page[int64]{Count: 3, Results: descending(3, 1)}, true},
		{"nothing that can be read", Page[int64]{Count: 9, Malformed: odd(3)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same := func(context.Context) (Page[int64], error) { return tt.page, nil }
			for kind, walk := range map[string]iter.Seq2[int64, error]{
				"by offset": list(t.Context(), 3, func(ctx context.Context, _, _ int) (Page[int64], error) { return same(ctx) },
					func(id *int64) string { return strconv.FormatInt(*id, 10) }),
				"by id": after(t.Context(), 3, func(ctx context.Context, _ int64, _ int) (Page[int64], error) { return same(ctx) },
					func(id *int64) int64 { return *id }),
			} {
				var ids []int64
				var problem error
				for id, err := range walk {
					if _, malformed := errors.AsType[*MalformedError](err); malformed {
						continue
					}
					if problem = err; err == nil {
						ids = append(ids, id)
					}
				}
				if len(ids) != len(tt.page.Results) || (problem == nil) != tt.ended {
					t.Errorf("%s: got %v, %v", kind, ids, problem)
				}
			}
		})
	}
}

func TestAfterGivesAPageInAnyOrder(t *testing.T) {
	pages := map[int64][]int64{0: {7, 9, 8}, 7: {6, 4, 5}, 4: {3}}
	var ids []int64
	for id, err := range after(t.Context(), 3, func(_ context.Context, last int64, _ int) (Page[int64], error) {
		return Page[int64]{Results: append([]int64{}, pages[last]...)}, nil
	}, func(id *int64) int64 { return *id }) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if !slices.Equal(ids, []int64{7, 9, 8, 6, 4, 5, 3}) {
		t.Errorf("got %v", ids)
	}
}

// TestActivityTwice walks through the same rows again: the first walk must not have
// moved the start.
func TestActivityTwice(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Start int64 }
		_ = json.NewDecoder(r.Body).Decode(&in)
		rows := map[int64]string{
			0: `{"id":4,"columns":{}},{"id":3,"columns":{}}`, 3: `{"id":2,"columns":{}},{"id":1,"columns":{}}`,
		}
		answerJSON(w, 200, `{"status":"success","data":{"results":[`+rows[in.Start]+`]}}`)
	})
	walk := newClient(t, server.URL).Hosts.Activity(t.Context(), "1", ActivityQuery{Query: "q", Limit: 2})
	for range 2 {
		var ids []int64
		for e, err := range walk {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, e.ID)
		}
		if !slices.Equal(ids, []int64{4, 3, 2, 1}) {
			t.Errorf("got %v", ids)
		}
	}
}

// TestNegativeStart is not sent, because the server fails at it.
func TestNegativeStart(t *testing.T) {
	server := newServer(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was sent", r.URL) })
	c, ctx := newClient(t, server.URL), t.Context()
	first := func(rows iter.Seq2[map[string]string, error]) (err error) {
		for _, err = range rows {
			break
		}
		return err
	}
	_, rules := c.Rules.Page(ctx, RuleQuery{Start: -1})
	where := Where("md5", OpEqual, "x")
	_, page := c.Search.Page(ctx, SearchQuery{Condition: where, Host: "H", Query: "q", Start: -1})
	for name, err := range map[string]error{
		"rules": rules, "page": page,
		"rows":       first(c.Search.Rows(ctx, SearchQuery{Condition: where, Host: "H", Query: "q", Start: -1})),
		"upload":     first(c.Hunt.UploadRows(ctx, HuntQuery{Type: "md5", File: IndicatorFile("x"), Host: "H", Query: "q", Start: -1})),
		"indicators": first(c.Hunt.IndicatorRows(ctx, IndicatorHunt{Type: "md5", Indicators: []string{"x"}, Host: "H", Query: "q", Start: -1})),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
