package ersim

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// reporting is a rig whose first host has reported three rows of a query.
func reporting(r *rig) (node, query string) {
	node = r.s.Hosts()[0].Identifier
	for i := range 3 {
		r.s.Raise(AlertSpec{
			Host: node, Source: "ioc", Query: "my_query", Columns: map[string]string{"action": "seen", "row": fmt.Sprint(i)},
			CreatedAt: r.clock.Now().Add(-time.Duration(3-i) * time.Minute),
		})
	}
	return node, "my_query"
}

func TestV0ScheduleResults(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		node, query := reporting(r)
		get := func(start, limit int) string {
			var texts []string
			for _, row := range r.v0Data("POST", "/nodes/schedule_query/results", obj{"host_identifier": node, "query_name": query, "start": start, "limit": limit}).([]any) {
				if keys(row) != "action columns id name node_id timestamp" {
					t.Fatal(row)
				}
				texts = append(texts, fmt.Sprint(below(row, "columns", "row")))
			}
			return strings.Join(texts, " ")
		}
		if all, second := get(0, 0), get(1, 1); all != "2 1 0" || second != "1" {
			t.Errorf("all %s, the second %s", all, second)
		}
		if rows := r.v0Data("POST", "/nodes/schedule_query/results", obj{"host_identifier": node, "query_name": "nosuch"}).([]any); len(rows) != 0 {
			t.Error(rows)
		}
		list := "/nodes/schedule_query/" + node
		since := fmt.Sprintf("?timestamp=%d", r.clock.Now().Add(-90*time.Second).Unix())
		if rows, late := r.v0Data("GET", list, nil).([]any), r.v0Data("GET", list+since, nil).([]any); len(rows) < 3 || len(late) != 1 {
			t.Errorf("%d rows, %d of them late", len(rows), len(late))
		}
		r.v0Fails("POST", "/nodes/schedule_query/results", obj{"host_identifier": "nosuch", "query_name": query})
		r.v0Fails("GET", "/nodes/schedule_query/nosuch", nil)
		w := r.sendTo(r.s.profile.base0+"/nodes/schedule_query/results", "POST", obj{"host_identifier": node})
		if w.Code != http.StatusBadRequest || keys(r.object(w)["errors"]) != "query_name" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestV0QueryResult(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		node, query := reporting(r)
		table := below(r.v0Data("POST", "/nodes/"+node+"/queryResult", obj{"start": 1, "length": 1, "search[value]": ""}), query)
		if keys(table) != "aaData columns iRecordsFiltered iTotalDisplayRecords iTotalRecords pageLength" ||
			below(table, "iTotalRecords") != "3" || fmt.Sprint(below(table, "aaData")) != "[map[action:seen row:1]]" {
			t.Error(table)
		}
		table = below(r.v0Data("POST", "/nodes/"+node+"/queryResult", obj{"start": 0, "length": 9, "search[value]": "2", "columns[0][data]": "row"}), query)
		if below(table, "iRecordsFiltered") != "1" || below(table, "columns") != nil {
			t.Error(table)
		}
		activity := r.v0Data("POST", "/nodes/"+node+"/activity", obj{"timestamp": "Nov 22 2026 03:22AM"})
		if keys(activity) != "node queries_packs" || keys(below(activity, "node")) != "host_identifier node_key" ||
			!strings.Contains(fmt.Sprint(below(activity, "queries_packs")), query) {
			t.Error(activity)
		}
		r.v0Fails("POST", "/nodes/nosuch/queryResult", obj{"start": 0, "length": 9, "search[value]": ""})
		r.v0Fails("POST", "/nodes/nosuch/activity", obj{"timestamp": "x"})
	})
}

func TestV0Exports(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		node, query := reporting(r)
		read := func(method, path string, body any) [][]string {
			w := r.sendTo(r.s.profile.base0+path, method, body)
			if kind := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(kind, "text/csv") {
				t.Fatalf("%d %s %s", w.Code, kind, w.Body)
			}
			rows, err := csv.NewReader(w.Body).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			return rows
		}
		if rows := read("GET", "/nodes_csv", nil); len(rows) != 6 || rows[0][1] != "Host Identifier" || rows[1][1] != node || len(rows[1]) != len(rows[0]) {
			t.Error(rows)
		}
		rows := read("POST", "/schedule_query/export", obj{"query_name": query, "host_identifier": node})
		if len(rows) != 4 || fmt.Sprint(rows[:2]) != "[[row action] [2 seen]]" {
			t.Error(rows)
		}
		if rows := read("POST", "/schedule_query/export", obj{"query_name": "nosuch", "host_identifier": node}); len(rows) != 0 {
			t.Error(rows)
		}
	})
}

// Both ways to delete old results delete them, GET included.
func TestV0DeleteResults(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		h := r.s.hosts[0]
		rows := func() int { return len(h.background) }
		r.s.lastEvent++
		h.background = append(h.background, event{r.s.lastEvent, "old", []byte(`{}`), r.clock.Now().AddDate(0, 0, -10)})
		before := rows()
		r.v0Data("GET", "/queryresult/20", nil)
		if rows() != before {
			t.Error("rows that are younger are gone")
		}
		r.v0Data("GET", "/queryresult/5", nil)
		if rows() != before-1 {
			t.Errorf("%d of %d rows", rows(), before)
		}
		r.v0Data("POST", "/queryresult/delete", obj{"days_of_data": 1})
		if w := r.sendTo(r.s.profile.base0+"/queryresult/many", "GET", nil); w.Code != http.StatusInternalServerError {
			t.Error(w.Code)
		}
	})
}
