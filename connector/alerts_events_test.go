package connector

import (
	"context"
	"errors"
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

// What happened around an alert is told by lists. Without them it is not that nothing
// happened.
func TestAlertDetailsWithoutLists(t *testing.T) {
	related := func(ctx context.Context, c *Client) (any, error) { return c.Alerts.RelatedEvents(ctx, 1) }
	tree := func(ctx context.Context, c *Client) (any, error) {
		return c.Alerts.ProcessTree(ctx, ProcessQuery{GUID: "G", NodeID: 1})
	}
	children := func(ctx context.Context, c *Client) (any, error) {
		return c.Alerts.ProcessChildren(ctx, ChildQuery{GUID: "G", NodeID: 1, Action: "PROC_CREATE"})
	}
	for _, tt := range []struct {
		name, data string
		read       func(ctx context.Context, c *Client) (any, error)
		is         error
	}{
		{"events, nothing", `{}`, related, ErrNotJSON},
		{"events, null", `null`, related, ErrNotJSON},
		{"events, nulls", `{"schedule_query_data_list_obj":null,"system_state_data_list":null}`, related, ErrNotJSON},
		{"events, a text", `"none"`, related, ErrNotJSON},
		{"events, none", `{"schedule_query_data_list_obj":[],"system_state_data_list":null}`, related, nil},
		{"tree, nothing", `{}`, tree, ErrNotFound},
		{"tree, null", `null`, tree, ErrNotFound},
		{"tree, a number", `7`, tree, ErrNotJSON},
		{"tree, no list", `{"name":"x.exe","path":"C:\\x.exe"}`, tree, ErrNotJSON},
		{"tree, a bare process", `{"name":"x.exe","path":"C:\\x.exe","all_children":[]}`, tree, nil},
		{"children, nothing", `{}`, children, ErrNotJSON},
		{"children, null", `null`, children, ErrNotJSON},
		{"children, an object", `{"child_data":{},"last_time":"7"}`, children, ErrNotJSON},
		{"children, none", `{"child_data":[],"last_time":"7"}`, children, nil},
	} {
		c, _ := recorder(t, http.StatusOK, "application/json", okWith(tt.data))
		if _, err := tt.read(t.Context(), c); !errors.Is(err, tt.is) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
