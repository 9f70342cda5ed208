package sinks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/format"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

type elasticDocument struct {
	Action string          `json:"action"`
	Index  string          `json:"index"`
	ID     string          `json:"id"`
	Body   json.RawMessage `json:"body"`
}

type elasticTask struct {
	URL          string            `json:"url"`
	APIKey       string            `json:"api_key"`
	TemplateName string            `json:"template_name"`
	Template     json.RawMessage   `json:"template"`
	Documents    []elasticDocument `json:"documents"`
}

type elasticVerdict struct {
	Template bool                      `json:"template"`
	Status   map[string]int            `json:"status"`
	Failed   []string                  `json:"failed"`
	Sources  map[string]map[string]any `json:"sources"`
}

// askElastic asks the official Go client, which scripts/judges.sh builds.
func askElastic(t *testing.T, task elasticTask) (elasticVerdict, error) {
	t.Helper()
	const program = "../bin/judges/elastic"
	if _, err := os.Stat(program); err != nil {
		if os.Getenv(testenv.RequireVariable) == "1" {
			t.Fatalf("needs what scripts/judges.sh builds, and %s=1 asks for everything", testenv.RequireVariable)
		}
		t.Skip("left out: needs what scripts/judges.sh builds")
	}
	input, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	var said, complained bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &said, &complained
	if err := cmd.Run(); err != nil {
		return elasticVerdict{}, errors.New(complained.String())
	}
	var v elasticVerdict
	if err := json.Unmarshal(said.Bytes(), &v); err != nil {
		t.Fatalf("%v in %s", err, said.String())
	}
	return v, nil
}

// bulkDocuments takes a bulk request apart.
func bulkDocuments(t *testing.T, body []byte) []elasticDocument {
	t.Helper()
	var out []elasticDocument
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	for i := 0; i+1 < len(lines); i += 2 {
		var action map[string]struct {
			Index string `json:"_index"`
			ID    string `json:"_id"`
		}
		if err := json.Unmarshal(lines[i], &action); err != nil {
			t.Fatal(err)
		}
		for verb, to := range action {
			out = append(out, elasticDocument{verb, to.Index, to.ID, lines[i+1]})
		}
	}
	return out
}

// TestElasticJudgedByTheOfficialClient gives the documents of the sink to the
// client that Elastic makes. From the same server it has to hear what the sink
// heard: the same items taken, refused, repeated and put off, and the same
// documents back. A client that refuses servers which are not Elasticsearch is also
// the judge of the fake.
func TestElasticJudgedByTheOfficialClient(t *testing.T) {
	status := map[string]int{"er-2": 429, "er-3": 400, "er-4": 503}
	newSim := func() *sinksim.Elastic {
		sim := &sinksim.Elastic{Authorization: "ApiKey s3cret-api-key", Judge: func(_, id string) int { return status[id] }}
		put := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_bulk", strings.NewReader( // as if er-5 had come before
			`{"create":{"_index":"logs-eclecticiq_er.alert-default","_id":"er-5"}}`+"\n"+`{"@timestamp":"2026-11-22T03:22:30Z"}`+"\n"))
		put.Header.Set("Authorization", sim.Authorization)
		put.Header.Set("Content-Type", "application/x-ndjson")
		sim.ServeHTTP(httptest.NewRecorder(), put)
		return sim
	}
	events := append(sinktest.Events(5), sinktest.Hostile())
	outcome := sinktest.Event(6)
	outcome.ID, outcome.Type = `run-1"},"x`, soar.EventStepFinished
	outcome.Outcome = &soar.Outcome{Step: "contain", Action: "host.contain", State: soar.StepVerified}
	events = append(events, outcome)

	var documents []elasticDocument
	ours := newSim()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		documents = bulkDocuments(t, plainBody(t, r, body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		ours.ServeHTTP(w, r)
	}))
	defer srv.Close()
	err := closeAfter(t, openSIEM(t, "elastic", elasticSettings(srv.URL))).Send(t.Context(), events)
	partial, ok := errors.AsType[*sinks.PartialError](err)
	if !ok || len(documents) != len(events) {
		t.Fatalf("error %v and %d documents", err, len(documents))
	}

	theirs := newSim()
	other := httptest.NewServer(theirs)
	defer other.Close()
	verdict, err := askElastic(t, elasticTask{
		URL: other.URL, APIKey: "s3cret-api-key", TemplateName: elasticTemplate, Template: format.ECSTemplate, Documents: documents,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !verdict.Template {
		t.Error("the template did not come back")
	}
	for i, d := range documents {
		failed := slices.Contains(verdict.Failed, d.ID)
		code := verdict.Status[d.ID]
		switch {
		case partial.Permanent[i] != nil:
			if !failed || code != 400 {
				t.Errorf("%s: the sink set it aside, the client says %d", d.ID, code)
			}
		case partial.Transient[i] != nil:
			if !failed || code != 429 && code != 503 {
				t.Errorf("%s: the sink sends it again, the client says %d", d.ID, code)
			}
		case failed && code != http.StatusConflict:
			t.Errorf("%s: the sink counts it as delivered, the client says %d", d.ID, code)
		}
	}
	if len(partial.Permanent) != 1 || len(partial.Transient) != 2 || verdict.Status["er-5"] != http.StatusConflict {
		t.Errorf("the sink has %d refused and %d put off, want 1 and 2; er-5 has status %d", len(partial.Permanent), len(partial.Transient), verdict.Status["er-5"])
	}
	for _, d := range documents {
		if got, want := verdict.Sources[d.ID], ours.Document(d.Index, d.ID); (got == nil) != (want == nil) ||
			want != nil && !reflect.DeepEqual(asJSON(t, got), asJSON(t, want)) {
			t.Errorf("%s: the client read back %v, want %v", d.ID, got, want)
		}
	}
}

// TestElasticClientRefusesAnotherProduct: the fake does not pass for Elasticsearch
// when it stands for OpenSearch.
func TestElasticClientRefusesAnotherProduct(t *testing.T) {
	srv := httptest.NewServer(&sinksim.Elastic{OpenSearch: true})
	defer srv.Close()
	_, err := askElastic(t, elasticTask{URL: srv.URL, TemplateName: elasticTemplate, Template: format.OpenSearchTemplate})
	if err == nil || !strings.Contains(err.Error(), "not Elasticsearch") && !strings.Contains(err.Error(), "product") {
		t.Errorf("the client said %v, want that this is not Elasticsearch", err)
	}
}

// asJSON makes two values comparable: numbers are of one kind.
func asJSON(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
