package connector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"testing"
	"time"
)

// TestNothingIsNotZero makes reads of a server that says success and tells nothing,
// or something else: that is an error, not nobody, nothing and 0.
func TestNothingIsNotZero(t *testing.T) {
	second := func(_ any, err error) error { return err }
	reads := map[string]func(ctx context.Context, c *Client) error{
		"hosts":          func(ctx context.Context, c *Client) error { return firstError(c.Hosts.List(ctx, HostQuery{})) },
		"count":          func(ctx context.Context, c *Client) error { return second(c.Hosts.Count(ctx)) },
		"tags of a host": func(ctx context.Context, c *Client) error { return second(c.Hosts.Tags(ctx, "1")) },
		"activity count": func(ctx context.Context, c *Client) error { return second(c.Hosts.ActivityCount(ctx, "1")) },
		"activity": func(ctx context.Context, c *Client) error {
			return firstError(c.Hosts.Activity(ctx, "1", ActivityQuery{Query: "q"}))
		},
		"status logs": func(ctx context.Context, c *Client) error {
			return firstError(c.Hosts.StatusLogs(ctx, "1", StatusLogQuery{}))
		},
		"rules":     func(ctx context.Context, c *Client) error { return firstError(c.Rules.List(ctx, RuleQuery{})) },
		"packs":     func(ctx context.Context, c *Client) error { return firstError(c.Packs.List(ctx, PackQuery{})) },
		"queries":   func(ctx context.Context, c *Client) error { return firstError(c.Queries.List(ctx, ScheduledFilter{})) },
		"tags":      func(ctx context.Context, c *Client) error { return firstError(c.Tags.List(ctx, TagQuery{})) },
		"users":     func(ctx context.Context, c *Client) error { return firstError(c.Users.List(ctx, UserQuery{})) },
		"configs":   func(ctx context.Context, c *Client) error { return firstError(c.Configs.List(ctx)) },
		"log files": func(ctx context.Context, c *Client) error { return second(c.Management.LogFiles(ctx, PartER)) },
		"engines":   func(ctx context.Context, c *Client) error { return second(c.Management.AVEngines(ctx)) },
		"metrics":   func(ctx context.Context, c *Client) error { return second(c.Management.Metrics(ctx, time.Now())) },
		"dashboard": func(ctx context.Context, c *Client) error { return second(c.Dashboard(ctx)) },
	}
	check := func(t *testing.T, api, data string, reads map[string]func(ctx context.Context, c *Client) error) {
		t.Helper()
		server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/index" {
				http.NotFound(w, r)
				return
			}
			answerJSON(w, http.StatusOK, `{"status":"success"`+data+`}`)
		})
		c := newClient(t, server.URL, func(o *Options) { o.API = api })
		for name, read := range reads {
			if err := read(t.Context(), c); !errors.Is(err, ErrNotJSON) && !errors.Is(err, ErrNotFound) {
				t.Errorf("%s of %s: %v", name, data, err)
			}
		}
	}
	for _, data := range []string{``, `,"data":null`, `,"data":"none"`, `,"data":7`} {
		check(t, apiV1, data, reads)
	}

	// In API v0 a list that is empty may be no list at all.
	old := map[string]func(ctx context.Context, c *Client) error{
		"nodes":      func(ctx context.Context, c *Client) error { return second(c.V0.Nodes(ctx, V0NodeQuery{})) },
		"alerts":     func(ctx context.Context, c *Client) error { return second(c.V0.Alerts(ctx, V0AlertQuery{})) },
		"node tags":  func(ctx context.Context, c *Client) error { return second(c.V0.NodeTags(ctx, "H")) },
		"indicators": func(ctx context.Context, c *Client) error { return second(c.V0.IOCs(ctx)) },
		"query results": func(ctx context.Context, c *Client) error {
			return second(c.V0.QueryResults(ctx, V0TableQuery{Host: "H"}))
		},
		"node activity": func(ctx context.Context, c *Client) error { return second(c.V0.Activity(ctx, "H", time.Time{})) },
		"hosts":         func(ctx context.Context, c *Client) error { return firstError(c.Hosts.List(ctx, HostQuery{})) },
		"alert list":    func(ctx context.Context, c *Client) error { return firstError(c.Alerts.List(ctx, AlertQuery{})) },
		"carves":        func(ctx context.Context, c *Client) error { return firstError(c.Carves.List(ctx, CarveQuery{})) },
	}
	for _, data := range []string{`,"data":7`, `,"data":true`} {
		check(t, apiV0, data, old)
	}
}

// firstError is the first error of a walk.
func firstError[T any](walk iter.Seq2[T, error]) error {
	for _, err := range walk {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestConfigsOfAPlatformMissing reads a list of configs of which a part is odd.
func TestConfigsOfAPlatformMissing(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"GET /configs": `{"status":"success","data":{"linux":["x"],"darwin":null,"windows":{"a":{"id":1}}}}`}}
	var got []string
	for c, err := range s.client().Configs.List(t.Context()) {
		_, malformed := errors.AsType[*MalformedError](err)
		got = append(got, fmt.Sprint(c.Name, malformed))
	}
	if fmt.Sprint(got) != "[true afalse]" {
		t.Errorf("got %v", got)
	}
}
