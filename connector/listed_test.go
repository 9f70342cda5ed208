package connector

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// A page is an answer with a list. Without one it says nothing, not that there is
// nothing.
func TestPageWithoutList(t *testing.T) {
	pages := map[string]func(ctx context.Context, c *Client) (any, error){
		"alerts":    func(ctx context.Context, c *Client) (any, error) { return c.Alerts.Page(ctx, AlertQuery{}) },
		"carves":    func(ctx context.Context, c *Client) (any, error) { return c.Carves.Page(ctx, CarveQuery{}) },
		"responses": func(ctx context.Context, c *Client) (any, error) { return c.Responses.Page(ctx, ResponseQuery{}) },
		"commands": func(ctx context.Context, c *Client) (any, error) {
			return c.Responses.ViewPage(ctx, ResponseView{OpenC2ID: 1})
		},
		"events": func(ctx context.Context, c *Client) (any, error) {
			return c.Alerts.AggregatedEvents(ctx, 1, AggregatedQuery{})
		},
	}
	for _, tt := range []struct {
		data string
		is   error
	}{{`null`, ErrNotJSON}, {`{}`, ErrNotJSON}, {`{"count":0,"results":null}`, ErrNotJSON}, {`{"count":0,"results":[]}`, nil}} {
		for name, page := range pages {
			c, _ := recorder(t, http.StatusOK, "application/json", okWith(tt.data))
			if _, err := page(t.Context(), c); !errors.Is(err, tt.is) {
				t.Errorf("%s of %s: %v", name, tt.data, err)
			}
		}
	}
}

// A poll of a server that answers without a list fails: alerts may be there.
func TestPollWithoutList(t *testing.T) {
	data := `{"count":0,"results":[]}`
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/alerts") {
			answerJSON(w, http.StatusOK, okWith(data))
			return
		}
		http.NotFound(w, r)
	})
	p := newTestPoller(t, newClient(t, server.URL), newIntake(), nil)
	if _, err := p.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	data = `{}`
	if _, err := p.Poll(t.Context()); !errors.Is(err, ErrNotJSON) || p.Status().LastError == "" {
		t.Errorf("got %v", err)
	}
}
