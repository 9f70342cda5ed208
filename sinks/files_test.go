package sinks_test

import (
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
)

// TestSplunkFilesFitTogether: Splunk is told how to read every source type that
// the sink gives, and every event type has its tags.
func TestSplunkFilesFitTogether(t *testing.T) {
	stanzas := map[string][]string{}
	for _, f := range sinks.Files("splunk") {
		for _, found := range regexp.MustCompile(`(?m)^\[(.+)\]$`).FindAllStringSubmatch(string(f.Data), -1) {
			stanzas[f.Name] = append(stanzas[f.Name], found[1])
		}
	}
	sim := &sinksim.Splunk{Token: "s3cret-hec-token"}
	srv := httptest.NewServer(sim)
	defer srv.Close()
	events := append(sentinelEvents(), soar.Event{ID: "row", Type: soar.EventTelemetry, Row: &soar.Row{Server: "er", Query: "q"}})
	if err := closeAfter(t, openSIEM(t, "splunk", splunkSettings(srv.URL))).Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	for _, ev := range sim.Events() {
		if !slices.Contains(stanzas["props.conf"], ev.SourceType) {
			t.Errorf("source type %s is not in props.conf", ev.SourceType)
		}
	}
	for _, name := range []string{"json", "cim", "ecs", "ocsf", "asim", "udm", "cef", "leef", "text", "template"} {
		if want := "eclecticiq:er:" + name; !slices.Contains(stanzas["props.conf"], want) {
			t.Errorf("source type %s of endpoint raw is not in props.conf", want)
		}
	}
	for _, stanza := range stanzas["tags.conf"] {
		if name, ok := strings.CutPrefix(stanza, "eventtype="); !ok || !slices.Contains(stanzas["eventtypes.conf"], name) {
			t.Errorf("tags for %s, which is no event type", stanza)
		}
	}
	if len(stanzas["tags.conf"]) != len(stanzas["eventtypes.conf"]) {
		t.Errorf("%d event types and tags for %d", len(stanzas["eventtypes.conf"]), len(stanzas["tags.conf"]))
	}
}
