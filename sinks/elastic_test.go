package sinks_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

func elasticSettings(url string) *sinks.ElasticSettings {
	return &sinks.ElasticSettings{URL: url, Namespace: "default", APIKey: soar.SecretValue("s3cret-api-key"), Compress: true, Timeout: time.Minute}
}

func bulkAnswer(t *testing.T, r *http.Request, body []byte, status func(i int) int) string {
	t.Helper()
	type item struct {
		Status int `json:"status"`
	}
	items, failed := []map[string]item{}, false
	for i := range bytes.Count(plainBody(t, r, body), []byte("\n")) / 2 {
		items = append(items, map[string]item{"create": {status(i)}})
		failed = failed || status(i) >= 300
	}
	answer, err := json.Marshal(map[string]any{"errors": failed, "items": items})
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestElasticContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 500, Secrets: []string{"s3cret-api-key"},
		Answer: func(status int) string { return fmt.Sprintf(`{"status":%d,"error":"s3cret-api-key"}`, status) },
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			s := elasticSettings(r.URL)
			s.CAFile = r.CAFile
			return openSIEM(t, "elastic", s)
		},
		OK: func(w http.ResponseWriter, r *http.Request, body []byte) {
			_, _ = io.WriteString(w, bulkAnswer(t, r, body, func(int) int { return 201 }))
		},
		PartialAnswer: func(w http.ResponseWriter, r *http.Request, body []byte) {
			_, _ = io.WriteString(w, bulkAnswer(t, r, body, func(i int) int { return []int{201, 400, 429}[i] }))
		},
		IDs: func(t *testing.T, r *http.Request, body []byte) []string {
			var ids []string
			for i, line := range strings.Split(strings.TrimSuffix(string(plainBody(t, r, body)), "\n"), "\n") {
				var action struct {
					Create struct {
						ID string `json:"_id"`
					} `json:"create"`
				}
				if err := json.Unmarshal([]byte(line), &action); err != nil {
					t.Fatal(err)
				}
				if i%2 == 0 {
					ids = append(ids, action.Create.ID)
				}
			}
			return ids
		},
	})
}

// TestElasticTakesTheDocuments has the fake server, with its rules, judge what
// the sink sends, hostile text included.
func TestElasticTakesTheDocuments(t *testing.T) {
	sim := &sinksim.Elastic{Authorization: "ApiKey s3cret-api-key"}
	srv := httptest.NewServer(sim)
	defer srv.Close()
	s := closeAfter(t, openSIEM(t, "elastic", elasticSettings(srv.URL)))
	outcome := sinktest.Event(3)
	outcome.ID, outcome.Type = "run-1-contain", soar.EventStepFinished
	outcome.Outcome = &soar.Outcome{Step: "contain", Action: "host.contain", State: soar.StepVerified}
	row := soar.Event{ID: "row-1", Type: soar.EventTelemetry, At: time.Now(), Row: &soar.Row{Server: "er", Query: "q", At: time.Now(), Columns: map[string]string{"pid": "7"}}}
	events := append(sinktest.Events(2), sinktest.Hostile(), outcome, row, soar.Event{ID: "t-1", Type: soar.EventTrouble, At: time.Now(), Text: "x"})
	if err := s.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	for index, id := range map[string]string{
		"logs-eclecticiq_er.alert-default": "er-1", "logs-eclecticiq_er.outcome-default": "run-1-contain", "logs-eclecticiq_er.connector-default": "t-1",
		"logs-eclecticiq_er.telemetry-default": "row-1",
	} {
		if sim.Document(index, id) == nil {
			t.Errorf("no document %s in %s", id, index)
		}
	}
	// The same batch again, as after a lost answer.
	if err := s.Send(t.Context(), events); err != nil {
		t.Errorf("the repeat: %v, want nil", err)
	}
	if got := len(sim.Documents()); got != len(events) || sim.Repeats() != len(events) {
		t.Errorf("%d documents and %d repeats, want %d and %d", got, sim.Repeats(), len(events), len(events))
	}
}

// What is wrong with the place and not with the documents costs none of them.
func TestElasticKeepsEventsOfAWrongIndex(t *testing.T) {
	for _, tt := range []struct {
		name, kind, reason string
		status             int
		want               sinktest.Class
	}{
		{"no such index", "index_not_found_exception", "no such index [er] and [action.auto_create_index] is [false]", 404, sinktest.Config},
		{"closed index", "index_closed_exception", "closed", 400, sinktest.Config},
		{"no pipeline", "illegal_argument_exception", "pipeline with id [er] does not exist", 400, sinktest.Config},
		{"alias", "illegal_argument_exception", "no write index is defined for alias [er]. The write index may be explicitly disabled", 400, sinktest.Config},
		{"document", "document_parsing_exception", "[1:2] failed to parse: no such index", 400, sinktest.Permanent},
		{"term", "illegal_argument_exception", "Document contains at least one immense term in field=\"pipeline with id [\"", 400, sinktest.Permanent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				item := map[string]any{"create": map[string]any{"status": tt.status, "error": map[string]string{"type": tt.kind, "reason": tt.reason}}}
				if err := json.NewEncoder(w).Encode(map[string]any{"errors": true, "items": []any{item, item}}); err != nil {
					t.Error(err)
				}
			}))
			defer srv.Close()
			err := closeAfter(t, openSIEM(t, "elastic", elasticSettings(srv.URL))).Send(t.Context(), sinktest.Events(2))
			partial, ok := errors.AsType[*sinks.PartialError](err)
			if !ok {
				t.Fatalf("error %v, want a PartialError", err)
			}
			for i := range 2 {
				if got := sinktest.ClassOf(cmp.Or(partial.Permanent[i], partial.Transient[i])); got != tt.want {
					t.Errorf("item %d: class %s, want %s: %v", i, got, tt.want, err)
				}
				if kept := partial.Transient[i] != nil; kept != (tt.want == sinktest.Config) {
					t.Errorf("item %d: kept %v", i, kept)
				}
			}
		})
	}
	srv := httptest.NewServer(&sinksim.Elastic{})
	defer srv.Close()
	bad := elasticSettings(srv.URL)
	bad.Index = "ER"
	err := closeAfter(t, openSIEM(t, "elastic", bad)).Send(t.Context(), sinktest.Events(2))
	if partial, ok := errors.AsType[*sinks.PartialError](err); !ok || len(partial.Permanent) != 0 || !errors.Is(partial.Transient[0], sinks.ErrConfig) {
		t.Errorf("an impossible name: %v, want events that are kept", err)
	}
}

func TestElasticJudgesEachItem(t *testing.T) {
	status := map[string]int{"er-1": 0, "er-2": 429, "er-3": 503, "er-4": 404, "er-5": 400, "er-6": 0}
	sim := &sinksim.Elastic{Judge: func(_, id string) int { return status[id] }}
	srv := httptest.NewServer(sim)
	defer srv.Close()
	s := closeAfter(t, openSIEM(t, "elastic", elasticSettings(srv.URL)))
	err := s.Send(t.Context(), sinktest.Events(6))
	partial, ok := errors.AsType[*sinks.PartialError](err)
	if !ok {
		t.Fatalf("error %v, want a PartialError", err)
	}
	if len(partial.Transient) != 2 || partial.Transient[1] == nil || partial.Transient[2] == nil {
		t.Errorf("to try again: %v, want items 1 and 2", partial.Transient)
	}
	if len(partial.Permanent) != 2 || partial.Permanent[3] == nil || partial.Permanent[4] == nil {
		t.Errorf("refused: %v, want items 3 and 4", partial.Permanent)
	}
	if got := len(sim.Documents()); got != 2 {
		t.Errorf("%d documents, want 2", got)
	}
}

// TestElasticItemWithoutPermission keeps the event: somebody has to mend the role.
func TestElasticItemWithoutPermission(t *testing.T) {
	srv := httptest.NewServer(&sinksim.Elastic{Judge: func(string, string) int { return 403 }})
	defer srv.Close()
	s := closeAfter(t, openSIEM(t, "elastic", elasticSettings(srv.URL)))
	partial, ok := errors.AsType[*sinks.PartialError](s.Send(t.Context(), sinktest.Events(1)))
	if !ok || !errors.Is(partial.Transient[0], sinks.ErrConfig) || len(partial.Permanent) != 0 {
		t.Errorf("got %+v, want item 0 kept with ErrConfig", partial)
	}
}

// TestElasticLostAnswer: what was stored is not stored twice.
func TestElasticLostAnswer(t *testing.T) {
	sim := &sinksim.Elastic{}
	srv := httptest.NewServer(sim)
	defer srv.Close()
	s := closeAfter(t, openSIEM(t, "elastic", elasticSettings(srv.URL)))
	sim.Next(sinksim.Answer{After: true})
	if err := s.Send(t.Context(), sinktest.Events(2)); sinktest.ClassOf(err) != sinktest.Transient {
		t.Fatalf("error %v, want a transient one", err)
	}
	if err := s.Send(t.Context(), sinktest.Events(2)); err != nil {
		t.Fatal(err)
	}
	if got := len(sim.Documents()); got != 2 {
		t.Errorf("%d documents, want 2", got)
	}
}

func TestElasticAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       sinktest.Class
	}{
		{"a web page", "<html></html>", sinktest.Config},
		{"another API", `{"acknowledged":true}`, sinktest.Config},
		{"too few items", `{"errors":false,"items":[]}`, sinktest.Transient},
		{"item without status", `{"errors":true,"items":[{"create":{}}]}`, sinktest.Partial},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim := &sinksim.Elastic{}
			sim.Next(sinksim.Answer{Status: 200, Body: tt.body})
			srv := httptest.NewServer(sim)
			defer srv.Close()
			s := closeAfter(t, openSIEM(t, "elastic", elasticSettings(srv.URL)))
			if err := s.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != tt.want {
				t.Errorf("%s (%v), want %s", sinktest.ClassOf(err), err, tt.want)
			}
		})
	}
}

func TestElasticAuthorization(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*sinks.ElasticSettings)
		want   string
	}{
		{"key", func(s *sinks.ElasticSettings) { s.APIKey = soar.SecretValue("k") }, "ApiKey k"},
		{"bearer", func(s *sinks.ElasticSettings) { s.Token = soar.SecretValue("b") }, "Bearer b"},
		{"basic", func(s *sinks.ElasticSettings) { s.Username, s.Password = "u", soar.SecretValue("p") }, "Basic dTpw"},
		{"none", func(*sinks.ElasticSettings) {}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got, query string
			sim := &sinksim.Elastic{}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, query = r.Header.Get("Authorization"), r.URL.RawQuery
				sim.ServeHTTP(w, r)
			}))
			defer srv.Close()
			settings := &sinks.ElasticSettings{URL: srv.URL + "/prefix/", Index: "er", Pipeline: "p&q", Timeout: time.Minute}
			tt.change(settings)
			s := closeAfter(t, openSIEM(t, "elastic", settings))
			if err := s.Send(t.Context(), sinktest.Events(1)); err != nil {
				t.Fatal(err)
			}
			if got != tt.want || !strings.Contains(query, "pipeline=p%26q") {
				t.Errorf("Authorization %q and query %q, want %q and the pipeline", got, query, tt.want)
			}
			if doc := sim.Document("er", "er-1"); doc == nil || doc["data_stream"] != nil {
				t.Errorf("document %v, want one without data_stream in the index", doc)
			}
		})
	}
}

// TestElasticShortensWhatTheMappingRefuses: OpenSearch refuses a document for one
// long column. The others are not sent again, and what is bad for another reason
// is still set aside.
func TestElasticShortensWhatTheMappingRefuses(t *testing.T) {
	sim := &sinksim.Elastic{OpenSearch: true, Judge: func(_, id string) int { return map[string]int{"er-3": 400}[id] }}
	srv := httptest.NewServer(sim)
	defer srv.Close()
	s := closeAfter(t, openSIEM(t, "elastic", elasticSettings(srv.URL)))
	events := sinktest.Events(3)
	for i := 1; i < 3; i++ {
		events[i].Alert.Event["script_text"] = strings.Repeat("x", 40_000)
	}
	partial, ok := errors.AsType[*sinks.PartialError](s.Send(t.Context(), events))
	if !ok || len(partial.Permanent) != 1 || partial.Permanent[2] == nil || len(partial.Transient) != 0 {
		t.Errorf("got %+v, want item 2 refused", partial)
	}
	doc := sim.Document("logs-eclecticiq_er.alert-default", "er-2")
	if doc == nil || sim.Repeats() != 0 {
		t.Fatalf("document %v and %d repeats, want the shortened one and none", doc, sim.Repeats())
	}
	if err := s.Send(t.Context(), events[1:2]); err != nil { // as after a lost answer: it is there
		t.Errorf("the repeat: %v, want nil", err)
	}
	tries := 0
	sim.Judge = func(string, string) int { // too long first, and then the server is busy
		if tries++; tries > 1 {
			return 429
		}
		return 0
	}
	events[2].ID = "er-4"
	partial, ok = errors.AsType[*sinks.PartialError](s.Send(t.Context(), events[2:]))
	if !ok || partial.Transient[0] == nil || len(partial.Permanent) != 0 {
		t.Errorf("got %+v, want item 0 to be sent again", partial)
	}
}
