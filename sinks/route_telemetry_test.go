package sinks

import (
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

func TestRouteAsksWhenAboutRows(t *testing.T) {
	when, err := CompileWhen(`.row.query == "dns" and .row.columns.domain_name != "ok.example"`)
	if err != nil {
		t.Fatal(err)
	}
	row := func(query, domain string) soar.Event {
		return soar.Event{ID: "x", Type: soar.EventTelemetry, Row: &soar.Row{Query: query, Columns: map[string]string{"domain_name": domain}}}
	}
	for _, tt := range []struct {
		name   string
		events []soar.EventType
		when   Condition
		ev     soar.Event
		want   bool
	}{
		{"by default rows are not delivered", nil, nil, row("dns", "bad.example"), false},
		{"a sink that asks gets them", []soar.EventType{soar.EventTelemetry}, nil, row("dns", "bad.example"), true},
		{"and only those it wants", []soar.EventType{soar.EventTelemetry}, when, row("dns", "bad.example"), true},
		{"not another query", []soar.EventType{soar.EventTelemetry}, when, row("http", "bad.example"), false},
		{"not another column", []soar.EventType{soar.EventTelemetry}, when, row("dns", "ok.example"), false},
		{"a sink for rows gets no alerts", []soar.EventType{soar.EventTelemetry}, nil, soar.Event{Type: soar.EventAlertReceived, Alert: &soar.Alert{}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRoute("siem", tt.events, tt.when, nil)
			if got, err := r.wants(t.Context(), &tt.ev); got != tt.want || err != nil {
				t.Errorf("wants: %v, %v; expected %v", got, err, tt.want)
			}
		})
	}
}
