package sinks_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

func ExampleNewStdout() {
	sink, err := sinks.NewStdout(os.Stdout, sinks.StdoutSettings{}, "1.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	alert := &soar.Alert{
		Server: "er", ID: "17", Severity: soar.SeverityHigh,
		Host: soar.Host{Name: "WIN-07"}, Rule: &soar.Rule{Name: "Shadow copies deleted"},
		Event: map[string]string{"cmdline": "vssadmin delete shadows /all"},
	}
	at := time.Date(2026, 11, 22, 5, 30, 33, 0, time.UTC)
	err = sink.Send(context.Background(), []soar.Event{
		{ID: "er-17", Type: soar.EventAlertReceived, At: at, Alert: alert},
		{ID: "step-1", Type: soar.EventStepFinished, At: at.Add(1200 * time.Millisecond), Alert: alert,
			Outcome: &soar.Outcome{Action: "host.contain", State: soar.StepVerified, Summary: "firewall rule added"}},
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 05:30:33.000  HIGH           WIN-07          Shadow copies deleted  er-17
	//                              vssadmin delete shadows /all
	// 05:30:34.200  verified       WIN-07          host.contain: firewall rule added  er-17
}
