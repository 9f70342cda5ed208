package connector

import (
	"fmt"
	"math"
	"net/http"
	"testing"
)

// Release 2.1.2 has neither filter nor pages: the client does both.
func TestAggregatedEventsAreChosenOnRelease2(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			answerJSON(w, http.StatusMethodNotAllowed, `{"message":"The method is not allowed for the requested URL."}`)
			return
		}
		answerJSON(w, http.StatusOK, `{"status":"success","data":[{"id":1,"name":"a","columns":{"pid":"7","path":"/bin/SH"}},`+
			`{"id":2,"name":"b","columns":{"pid":"7"}},{"id":3,"name":"a","columns":{"pid":"8"}},{"id":4,"name":"a","columns":{"pid":"9"}}]}`)
	})
	c := newClient(t, server.URL)
	for _, tt := range []struct {
		q            AggregatedQuery
		ids          string
		count, total int
	}{
		{AggregatedQuery{}, "[1 2 3 4]", 4, 4},
		{AggregatedQuery{Start: 1, Limit: 2}, "[2 3]", 4, 4},
		{AggregatedQuery{Start: 9}, "[]", 4, 4},
		{AggregatedQuery{Start: 3, Limit: math.MaxInt}, "[4]", 4, 4},
		{AggregatedQuery{QueryName: "a"}, "[1 3 4]", 3, 3},
		{AggregatedQuery{QueryName: "a", Start: 2, Limit: 5}, "[4]", 3, 3},
		{AggregatedQuery{QueryName: "a", Column: "pid", Value: "9,7"}, "[1 4]", 2, 3},
		{AggregatedQuery{QueryName: "a", Column: "nosuch", Value: "7"}, "[]", 0, 3},
		{AggregatedQuery{QueryName: "a", Search: "bin/sh"}, "[1]", 1, 3},
		{AggregatedQuery{QueryName: "nosuch"}, "[]", 0, 0},
	} {
		page, err := c.Alerts.AggregatedEvents(t.Context(), 1, tt.q)
		ids := []int64{}
		for _, e := range page.Results {
			ids = append(ids, e.ID)
		}
		if err != nil || fmt.Sprint(ids) != tt.ids || page.Count != tt.count || page.Total != tt.total || page.Results == nil {
			t.Errorf("%+v: got %v, %d of %d, %v", tt.q, ids, page.Count, page.Total, err)
		}
	}
}
