package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// AlertState are the arguments of alert.state.
type AlertState struct {
	// Alert is the server's id of the alert; without it, the alert at hand.
	Alert Number `yaml:"alert"`
}

// AlertStateOutput is what alert.state leaves under .steps.<id>.output.
type AlertStateOutput struct {
	// Counts are the queries that describe the state of the host, such as its patches, the
	// first 1000 of them.
	Counts []QueryCount `json:"counts"`
	// Partial means that there are more.
	Partial bool `json:"partial"`
}

// QueryCount is how many rows a query has.
type QueryCount struct {
	// Query is the name of the query.
	Query string `json:"query"`
	// Rows is how many rows it has.
	Rows int `json:"rows"`
}

// maxCounts bounds the queries of which a run is told.
const maxCounts = 1000

// FoundNothing reports whether nothing describes the state of the host.
func (o AlertStateOutput) FoundNothing() bool { return len(o.Counts) == 0 }

func init() {
	add(kind[AlertState]{
		Spec: playbooks.Spec{
			Name:    "alert.state",
			Summary: "Reads which queries describe the state of an alert's host, and how many rows each of them has.",
			Effect:  playbooks.Reads,
			Needs:   []string{"enterprise"},
			Output:  AlertStateOutput{},
			Example: "do: alert.state\n",
			Timeout: time.Minute,
			OfAlert: true,
		},
		do: hostState,
	})
}

func hostState(ctx context.Context, d *Deps, call playbooks.Call, in AlertState) (playbooks.Outcome, error) {
	id, err := d.alertID(call, in.Alert)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	counts, err := d.Client.Alerts.State(ctx, id)
	if err != nil {
		return playbooks.Outcome{}, alertReadError(id, err)
	}
	output := AlertStateOutput{Counts: []QueryCount{}, Partial: len(counts) > maxCounts}
	for _, c := range counts[:min(len(counts), maxCounts)] {
		output.Counts = append(output.Counts, QueryCount{Query: c.QueryName, Rows: c.Count})
	}
	return playbooks.Outcome{
		State: soar.StepExecuted, Output: output,
		Summary: fmt.Sprintf("read the state of the host of alert %d: %d queries", id, len(output.Counts)),
	}, nil
}
