package actions

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// joined raises an alert that absorbs more events: n of the query a, and m of b.
func (b *bench) joined(n, m int) soar.Alert {
	b.Helper()
	h := b.windows()
	at := time.Now().Add(-10 * time.Second)
	id := int64(0)
	for i := range 1 + n + m {
		query := "files a"
		if i > n {
			query = "files b"
		}
		raised := b.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Rule: "joins", Query: query, CreatedAt: at, Columns: map[string]string{
			"action": "FILE_WRITE", "target_path": `C:\it's ` + strconv.Itoa(i), "kind": strconv.Itoa(i % 2),
		}})
		if id != 0 && raised != id {
			b.Fatalf("event %d joined alert %d, not %d", i, raised, id)
		}
		id = raised
	}
	return soar.Alert{Server: "er", ID: strconv.FormatInt(id, 10)}
}

func TestAggregatedEvents(t *testing.T) {
	b := newBench(t, ersim.Options{})
	alert := b.joined(5, 3)
	for _, tt := range []struct {
		name          string
		with          object
		events, total int
		partial       bool
	}{
		{"all", object{}, 8, 8, false},
		{"one query", object{"query": "files b"}, 3, 3, false},
		{"no such query", object{"query": "files c"}, 0, 0, false},
		{"by a column", object{"query": "files a", "column": "kind", "values": []any{"1"}}, 3, 3, false},
		{"bounded", object{"limit": 2.0}, 2, 8, true},
		{"bounded across queries", object{"limit": 6.0}, 6, 8, true},
	} {
		out := b.run("alert.aggregated", call("c", alert, tt.with))
		got := out.Output.(AlertAggregatedOutput)
		if len(got.Events) != tt.events || got.Total != tt.total || got.Partial != tt.partial || got.FoundNothing() != (tt.events == 0) {
			t.Errorf("%s: %d of %d events, partial %t: %s", tt.name, len(got.Events), got.Total, got.Partial, out.Summary)
		}
		for _, e := range got.Events {
			if !strings.HasPrefix(e.Query, "files ") || !strings.HasPrefix(e.Columns["target_path"], `C:\it's `) || e.At.IsZero() {
				t.Errorf("%s: event %+v", tt.name, e)
			}
		}
	}
	for _, with := range []object{
		{"query": "it's"}, {"query": "a", "column": "kind"}, {"column": "kind", "values": []any{"1"}}, {"limit": 0.0}, {"limit": 1001.0},
		{"query": "a", "column": "kind", "values": []any{"1,2"}}, {"query": "a", "column": "kind", "values": []any{"1'; drop table alerts; --"}},
	} {
		if _, err := b.actions["alert.aggregated"].Do(t.Context(), call("c", alert, with)); err == nil || errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("%v: %v", with, err)
		}
	}

	// Release 2.1.2 counts the event that raised the alert, and gives all rows at once.
	old := newBench(t, ersim.Options{Profile: "2.1.2"})
	got := old.run("alert.aggregated", call("c", old.joined(3, 0), object{"limit": 2.0})).Output.(AlertAggregatedOutput)
	if len(got.Events) != 2 || got.Total != 4 || !got.Partial {
		t.Errorf("release 2.1.2: %+v", got)
	}
}

func TestRelatedEventsAndState(t *testing.T) {
	b := newBench(t, ersim.Options{})
	alert := b.raise(b.windows(), evil)
	related := b.run("alert.related", call("c", alert, object{})).Output.(AlertRelatedOutput)
	rows := 0
	for _, q := range related.Queries {
		rows += len(q.Rows)
		if q.Total < len(q.Rows) || q.Name == "" {
			t.Errorf("query %+v", q)
		}
	}
	if rows == 0 || len(related.States) == 0 || related.FoundNothing() {
		t.Errorf("related %+v", related)
	}
	out := b.run("alert.state", call("c", alert, object{}))
	if state := out.Output.(AlertStateOutput); len(state.Counts) != 2 || state.Counts[0].Query != "os_version" || state.Counts[1].Rows < 20 {
		t.Errorf("state %+v", out)
	}

	for _, action := range []string{"alert.related", "alert.state", "alert.aggregated"} {
		if _, err := b.actions[action].Do(t.Context(), call("c", alert, object{"alert": 99999.0})); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("%s of an unknown alert: %v", action, err)
		}
		b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: map[string]string{
			"alert.related": "alerts-events", "alert.state": "alerts-state", "alert.aggregated": "alerts-alerted-events",
		}[action]})
		if _, err := b.actions[action].Do(t.Context(), call("c", alert, object{})); !errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("%s, unreadable: %v", action, err)
		}
	}
	community := newBench(t, ersim.Options{Profile: "4.0-community"})
	alert = community.raise(community.windows(), evil)
	for _, action := range []string{"alert.related", "alert.state"} {
		_, err := community.actions[action].Do(t.Context(), call("c", alert, object{}))
		if !errors.Is(err, connector.ErrUnavailable) || !strings.Contains(err.Error(), "Community Edition") || errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("%s on Community: %v", action, err)
		}
	}
}

// Rows that are larger than a run may hold are left out, and it is said.
func TestRowRoom(t *testing.T) {
	large := map[string]string{"a": strings.Repeat("x", 60)}
	small := map[string]string{"a": "x"}
	room := rowRoom(200)
	for i, tt := range []struct {
		rows []map[string]string
		want int
	}{
		{[]map[string]string{large, small}, 2},
		{[]map[string]string{large, large, small}, 1},
		{[]map[string]string{small}, 0},
	} {
		if got := room.take(tt.rows); got != tt.want {
			t.Errorf("%d: took %d rows, want %d", i, got, tt.want)
		}
	}
}
