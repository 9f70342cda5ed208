package connector

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestReadBackThatFails makes calls that write and read back, on a server that takes
// what is written and has no answer from then on. What was written stays written,
// whatever the last read's error means.
func TestReadBackThatFails(t *testing.T) {
	ruleAnswer := `{"status":"success","data":{"id":1,"name":"n","severity":"INFO","type":"MITRE","conditions":{"condition":"AND","rules":[
		{"field":"column","operator":"column_contains","value":["cmdline","x"]}]}}}`
	for _, tt := range []struct {
		name  string
		write string // method and path
		call  func(ctx context.Context, c *Client) error
	}{
		{"rule", "POST /rules/1", func(ctx context.Context, c *Client) error {
			_, err := c.Rules.Modify(ctx, 1, func(spec *RuleSpec) error { spec.Name = "new"; return nil })
			return err
		}},
		{"indicators", "POST /iocs/add", func(ctx context.Context, c *Client) error { return c.IOCs.Merge(ctx, oneMD5) }},
		{"settings", "PUT /management/settings", func(ctx context.Context, c *Client) error {
			return c.Management.UpdateSettings(ctx, SettingsChange{RetentionDays: 7, SSOEnabled: new(true)})
		}},
		{"config", "PUT /configs/1/assign", func(ctx context.Context, c *Client) error {
			_, err := c.Configs.Assign(ctx, 1, []string{"H"}, nil)
			return err
		}},
		{"pack", "POST /packs/add", func(ctx context.Context, c *Client) error {
			_, err := c.Packs.Add(ctx, NewPack{Name: "p", Tags: []string{"a"}, Queries: []ScheduledQuery{{Name: "q", SQL: "select 1;", Interval: time.Minute}}})
			return err
		}},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusForbidden, http.StatusNotFound, http.StatusBadGateway} {
			t.Run(tt.name+" "+http.StatusText(status), func(t *testing.T) {
				var written atomic.Bool
				server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
					switch call := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api"); {
					case written.Load():
						answerJSON(w, status, `{"message":"no"}`)
					case call == tt.write:
						written.Store(true)
						answerJSON(w, http.StatusOK, `{"status":"success","pack_id":7}`)
					case call == "GET /rules/1":
						answerJSON(w, http.StatusOK, ruleAnswer)
					default:
						answerJSON(w, http.StatusOK, `{"status":"success","data":{}}`)
					}
				})
				err := tt.call(t.Context(), newClient(t, server.URL))
				if !written.Load() || !errors.Is(err, ErrUncertain) {
					t.Errorf("written: %t, got %v", written.Load(), err)
				}
				for _, wrong := range []error{ErrNotSent, ErrForbidden, ErrNotFound, ErrRefused, ErrUnavailable} {
					if errors.Is(err, wrong) {
						t.Errorf("%v claims: %v", err, wrong)
					}
				}
				if strings.Contains(err.Error(), ErrNotSent.Error()) || strings.Contains(err.Error(), "answer was lost") {
					t.Errorf("misleads: %v", err)
				}
			})
		}
	}
}

func TestReadBackCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			cancel()
		}
		answerJSON(w, http.StatusOK, `{"status":"success","data":[]}`)
	})
	c := newClient(t, server.URL)
	if _, err := c.Configs.Assign(ctx, 1, []string{"H"}, nil); !errors.Is(err, ErrUncertain) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestReplaceThatNeverHappened shrinks a list on a server that loses the call. All
// that was to stay is there, because all of the old list is.
func TestReplaceThatNeverHappened(t *testing.T) {
	s, c := newIOCServer(t)
	s.lists = map[string]map[string]string{"ips": stored("remote_address", "INFO", "203.0.113.1,203.0.113.2")}
	s.before = func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }
	less := map[string]IOC{"ips": {Type: "remote_address", Severity: "INFO", Values: []string{"203.0.113.1"}}}
	if err := c.IOCs.Replace(t.Context(), less, ReplaceEverything); !errors.Is(err, ErrUncertain) || !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
}

// TestMadeWithoutAnID adds what the server says that it took, without telling the id.
func TestMadeWithoutAnID(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, `{"status":"success","data":{}}`)
	})
	c := newClient(t, server.URL)
	_, err := c.Rules.Add(t.Context(), RuleSpec{Name: "n", Condition: Where("cmdline", OpContains, "x")})
	if !errors.Is(err, ErrUncertain) {
		t.Errorf("got %v", err)
	}
}

// TestSettingsRefusedHalfway changes two settings, of which the server stores the first
// before it refuses the second.
func TestSettingsRefusedHalfway(t *testing.T) {
	refusal := `{"status":"failure","message":"at most 600 seconds"}`
	s := &script{t: t, answers: map[string]string{"PUT /management/settings": refusal, "GET /management/settings": `{"status":"success","data":{}}`}}
	c, window := s.client(), new(time.Hour)
	err := c.Management.UpdateSettings(t.Context(), SettingsChange{RetentionDays: 7, AggregationWindow: window})
	if !errors.Is(err, ErrUncertain) || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "600") {
		t.Errorf("two: %v", err)
	}
	if err = c.Management.UpdateSettings(t.Context(), SettingsChange{AggregationWindow: window}); !errors.Is(err, ErrRefused) || errors.Is(err, ErrUncertain) {
		t.Errorf("one: %v", err)
	}
}

// TestChangeThatStops ends every call that reads, changes and writes by an error of the
// change, before anything is written.
func TestChangeThatStops(t *testing.T) {
	s := &script{t: t, answers: map[string]string{
		"GET /configs": oddConfigs, "GET /configs/all": oldConfigs, "GET /rules/1": `{"status":"success","data":{"id":1}}`,
		"GET /queries/7": `{"status":"success","data":{"id":7,"name":"n","sql":"select 1;","interval":60}}`,
	}}
	c, ctx, stop := s.client(), t.Context(), errors.New("stop")
	_, config := c.Configs.Modify(ctx, 4, func(*Config) error { return stop })
	_, query := c.Queries.Modify(ctx, 7, func(*ScheduledQuery) error { return stop })
	_, rule := c.Rules.Modify(ctx, 1, func(*RuleSpec) error { return stop })
	_, old := c.Release2.ModifyConfig(ctx, OldConfigKey{Platform: "windows", Type: "shallow"}, func(*OldConfig) error { return stop })
	for name, err := range map[string]error{"config": config, "query": query, "rule": rule, "old config": old} {
		if !errors.Is(err, stop) || errors.Is(err, ErrUncertain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.writes(); len(got) != 0 {
		t.Errorf("sent %q", got)
	}
}
