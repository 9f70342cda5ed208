package sinks_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const elasticTemplate = "logs-eclecticiq_er"

// templateServer is a server that says which requests came, and a sink for it that
// installs the template.
func templateServer(t *testing.T, sim http.Handler) (open func() sinks.Sink, came func() string) {
	t.Helper()
	var mu sync.Mutex // guards requests: a handler may still run when its connection is lost
	var requests []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.Method+" "+strings.Trim(r.URL.Path, "/"))
		mu.Unlock()
		sim.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	came = func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(requests, ", ")
	}
	return func() sinks.Sink {
		settings := elasticSettings(srv.URL)
		settings.InstallTemplate = true
		return closeAfter(t, openSIEM(t, "elastic", settings))
	}, came
}

// TestElasticInstallsTheTemplate: once, before the first event, in the words of
// the product; and the server takes it.
func TestElasticInstallsTheTemplate(t *testing.T) {
	for name, sim := range map[string]*sinksim.Elastic{
		"flattened":   {Authorization: "ApiKey s3cret-api-key"},
		"flat_object": {Authorization: "ApiKey s3cret-api-key", OpenSearch: true},
	} {
		t.Run(name, func(t *testing.T) {
			open, came := templateServer(t, sim)
			s := open()
			for n := range 2 {
				if err := s.Send(t.Context(), []soar.Event{sinktest.Event(n)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := open().Send(t.Context(), []soar.Event{sinktest.Event(2)}); err != nil { // as after a restart
				t.Fatal(err)
			}
			look, put := "GET _index_template/"+elasticTemplate, "PUT _index_template/"+elasticTemplate
			if got, want := came(), strings.Join([]string{look, put, "POST _bulk", "POST _bulk", look, "POST _bulk"}, ", "); got != want {
				t.Errorf("requests\n got %s\nwant %s", got, want)
			}
			if template := string(sim.Template(elasticTemplate)); !strings.Contains(template, name) {
				t.Errorf("template %s, want the columns as %s", template, name)
			}
			if got := len(sim.Documents()); got != 3 {
				t.Errorf("%d documents, want 3", got)
			}
		})
	}
}

// TestElasticLeavesANewerTemplate alone: somebody changed it, or a newer erbridge
// is at work beside this one. An older one is replaced.
func TestElasticLeavesANewerTemplate(t *testing.T) {
	for _, tt := range []struct {
		there string
		stays bool
	}{
		{`{"index_patterns":["logs-eclecticiq_er.*-*"],"version":999}`, true},
		{`{"index_patterns":["logs-eclecticiq_er.*-*"]}`, false},
	} {
		sim := &sinksim.Elastic{}
		open, _ := templateServer(t, sim)
		put := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/_index_template/"+elasticTemplate, strings.NewReader(tt.there))
		sim.ServeHTTP(httptest.NewRecorder(), put)
		if err := open().Send(t.Context(), sinktest.Events(1)); err != nil {
			t.Fatal(err)
		}
		if stayed := string(sim.Template(elasticTemplate)) == tt.there; stayed != tt.stays {
			t.Errorf("template %s was left alone: %v, want %v", tt.there, stayed, tt.stays)
		}
	}
}

// TestElasticTemplateRefused: no event goes before the template, and none is set
// aside for what a person has to mend.
func TestElasticTemplateRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method string
		answer sinksim.Answer
		want   sinktest.Class
	}{
		{"no privilege to look", http.MethodGet, sinksim.Answer{Status: 403, Body: `{"error":"s3cret-api-key"}`}, sinktest.Config},
		{"a page of a proxy", http.MethodGet, sinksim.Answer{Status: 404, Body: "<html>"}, sinktest.Config},
		{"not a search engine", http.MethodGet, sinksim.Answer{Status: 200, Body: "hello"}, sinktest.Config},
		{"busy", http.MethodGet, sinksim.Answer{Status: 503}, sinktest.Transient},
		{"no privilege to install", http.MethodPut, sinksim.Answer{Status: 403, Body: `{"error":"s3cret-api-key"}`}, sinktest.Config},
		{"the server knows a type not", http.MethodPut, sinksim.Answer{Status: 400, Body: `{"error":"no handler for type"}`}, sinktest.Config},
		{"connection lost", http.MethodPut, sinksim.Answer{}, sinktest.Transient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim := &sinksim.Elastic{}
			var refused atomic.Bool
			open, _ := templateServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == tt.method && !refused.Swap(true) {
					sim.Next(tt.answer)
				}
				sim.ServeHTTP(w, r)
			}))
			s := open()
			err := s.Send(t.Context(), sinktest.Events(2))
			if sinktest.ClassOf(err) != tt.want || strings.Contains(err.Error(), "s3cret") {
				t.Fatalf("%s: %v, want %s without the key", sinktest.ClassOf(err), err, tt.want)
			}
			if len(sim.Documents()) != 0 {
				t.Error("events went before the template")
			}
			if err := s.Send(t.Context(), sinktest.Events(2)); err != nil { // mended
				t.Fatal(err)
			}
			if !json.Valid(sim.Template(elasticTemplate)) || len(sim.Documents()) != 2 {
				t.Errorf("template %s and %d documents after the mend", sim.Template(elasticTemplate), len(sim.Documents()))
			}
		})
	}
}

// TestElasticTemplateAnswerLost: it is there, so the next attempt goes on.
func TestElasticTemplateAnswerLost(t *testing.T) {
	sim := &sinksim.Elastic{}
	var lost atomic.Bool
	open, _ := templateServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && !lost.Swap(true) {
			sim.Next(sinksim.Answer{After: true})
		}
		sim.ServeHTTP(w, r)
	}))
	s := open()
	if err := s.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient || errors.Is(err, sinks.ErrConfig) {
		t.Fatalf("error %v, want a transient one", err)
	}
	if err := s.Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Fatal(err)
	}
}
