package sinks_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// startCollector runs the collector's receiver until the test ends. It returns the
// address and what it says of each request, a line of JSON.
func startCollector(t *testing.T) (address string, said <-chan []byte) {
	t.Helper()
	program, err := filepath.Abs("../bin/judges/otlpreceiver")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		if os.Getenv(testenv.RequireVariable) == "1" {
			t.Fatalf("needs what scripts/judges.sh builds, and %s=1 asks for everything", testenv.RequireVariable)
		}
		t.Skip("left out: needs what scripts/judges.sh builds")
	}
	// Not killed by the test's context: it ends with its input.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var trouble strings.Builder
	cmd.Stderr = &trouble
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("otlpreceiver: %v: %s", err, trouble.String())
		}
	})
	lines := make(chan []byte, 2) // one for each request of the test
	go func() {                   // a receiver that waits for its reader does not answer
		defer close(lines)
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	return strings.TrimSpace(string(<-lines)), lines
}

// The receiver of the OpenTelemetry Collector understands each record as it was meant.
func TestOTLPIntoCollector(t *testing.T) {
	address, said := startCollector(t)
	events := append(sinktest.Events(3), sinktest.Hostile())
	for _, compress := range []bool{true, false} {
		s := closeAfter(t, openSIEM(t, "otlp", &sinks.OTLPSettings{
			URL: "http://" + address, Resource: map[string]string{"deployment.environment.name": "test"}, Compress: compress, Timeout: otlpSettings("").Timeout,
		}))
		if err := s.Send(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		line := <-said
		type attribute struct {
			Key   string `json:"key"`
			Value struct {
				Text   string `json:"stringValue"`
				Number string `json:"intValue"`
			} `json:"value"`
		}
		var request struct {
			ResourceLogs []struct {
				Resource struct {
					Attributes []attribute `json:"attributes"`
				} `json:"resource"`
				ScopeLogs []struct {
					LogRecords []struct {
						Time     string `json:"timeUnixNano"`
						Severity int    `json:"severityNumber"`
						Name     string `json:"eventName"`
						Body     struct {
							Text string `json:"stringValue"`
						} `json:"body"`
						Attributes []attribute `json:"attributes"`
					} `json:"logRecords"`
				} `json:"scopeLogs"`
			} `json:"resourceLogs"`
		}
		if err := json.Unmarshal(line, &request); err != nil {
			t.Fatal(err)
		}
		values := func(attributes []attribute) map[string]string {
			m := map[string]string{}
			for _, a := range attributes {
				m[a.Key] = a.Value.Text + a.Value.Number
			}
			return m
		}
		if of := values(request.ResourceLogs[0].Resource.Attributes); of["service.name"] != "erbridge" || of["deployment.environment.name"] != "test" {
			t.Errorf("resource %v", of)
		}
		records := request.ResourceLogs[0].ScopeLogs[0].LogRecords
		if len(records) != len(events) {
			t.Fatalf("%d records, want %d", len(records), len(events))
		}
		for i, r := range records {
			ev, of := events[i], values(r.Attributes)
			if r.Time != strconv.FormatInt(ev.Alert.EventTime.UnixNano(), 10) || r.Severity != 17 || r.Name != "er.alert" || r.Body.Text == "" {
				t.Errorf("%s: record %+v", ev.ID, r)
			}
			if of["log.record.uid"] != ev.ID || of["host.id"] != "EC2A-7" || i < 3 && of["process.pid"] != "4711" {
				t.Errorf("%s: attributes %v", ev.ID, of)
			}
		}
	}
}
