package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// AlertRelated are the arguments of alert.related.
type AlertRelated struct {
	// Alert is the server's id of the alert; without it, the alert at hand.
	Alert Number `yaml:"alert"`

	// Limit is how many rows are kept of each query, from 1 to 1000.
	Limit int `yaml:"limit"`
}

// AlertRelatedOutput is what alert.related leaves under .steps.<id>.output.
type AlertRelatedOutput struct {
	// Queries are the scheduled queries that had rows.
	Queries []RelatedQuery `json:"queries"`
	// States are the names of the queries that describe the state of the host.
	States []string `json:"states"`
	// Partial means that rows were left out: a query has more than limit, or all of them
	// have more than 256 KiB.
	Partial bool `json:"partial"`
}

// RelatedQuery are the rows of one query.
type RelatedQuery struct {
	// Name is the name of the query.
	Name string `json:"name"`
	// Rows are its rows; values are text.
	Rows []map[string]string `json:"rows"`
	// Total is how many rows the server has of it.
	Total int `json:"total"`
}

// FoundNothing reports whether nothing else happened around the alert.
func (o AlertRelatedOutput) FoundNothing() bool { return len(o.Queries)+len(o.States) == 0 }

func init() {
	add(kind[AlertRelated]{
		Spec: playbooks.Spec{
			Name:    "alert.related",
			Summary: "Reads what else scheduled queries reported of the host within 30 seconds of an alert.",
			Effect:  playbooks.Reads,
			Needs:   []string{"enterprise"},
			Output:  AlertRelatedOutput{},
			Example: "do: alert.related\n",
			Timeout: time.Minute,
			OfAlert: true,
		},
		defaults: AlertRelated{Limit: 100},
		check:    func(_ *Deps, in *AlertRelated, a *arguments) { a.within("limit", in.Limit, 1, 1000) },
		do:       relatedEvents,
	})
}

// errNotCommunity means that the server's edition does not have the call.
var errNotCommunity = fmt.Errorf("this is %w (Enterprise only): it is the Community Edition, or its license has none", connector.ErrUnavailable)

// alertReadError puts the error of a reading call about an alert into words.
func alertReadError(id int64, err error) error {
	switch {
	case errors.Is(err, connector.ErrUnavailable):
		return errNotCommunity
	case errors.Is(err, connector.ErrNotFound), errors.Is(err, connector.ErrRefused):
		return fmt.Errorf("alert %d: %w", id, absent{err})
	}
	return fmt.Errorf("alert %d: %w", id, readError(err))
}

func relatedEvents(ctx context.Context, d *Deps, call playbooks.Call, in AlertRelated) (playbooks.Outcome, error) {
	id, err := d.alertID(call, in.Alert)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	related, err := d.Client.Alerts.RelatedEvents(ctx, id)
	if err != nil {
		return playbooks.Outcome{}, alertReadError(id, err)
	}
	output := AlertRelatedOutput{Queries: []RelatedQuery{}, States: []string{}}
	output.States = append(output.States, related.States...)
	room, rows := rowRoom(maxRowBytes), 0
	for _, q := range related.Queries {
		kept := q.Rows[:min(len(q.Rows), in.Limit)]
		kept = kept[:room.take(kept)]
		rows += len(kept)
		output.Partial = output.Partial || len(kept) < len(q.Rows)
		output.Queries = append(output.Queries, RelatedQuery{Name: q.Name, Rows: append([]map[string]string{}, kept...), Total: len(q.Rows)})
	}
	return playbooks.Outcome{
		State: soar.StepExecuted, Output: output,
		Summary: fmt.Sprintf("read %d rows of %d queries around alert %d", rows, len(output.Queries), id),
	}, nil
}

// rowRoom is how many bytes of rows still fit into a run.
type rowRoom int

// take takes as many of the rows as fit, and tells how many these are.
func (r *rowRoom) take(rows []map[string]string) int {
	for n, row := range rows {
		size := 0
		for name, value := range row {
			size += len(name) + len(value) + len(`"":"",`)
		}
		if *r -= rowRoom(size); *r < 0 {
			*r = 0 // nothing behind it is taken, so that rows stay in order
			return n
		}
	}
	return len(rows)
}

// within refuses a number outside of its bounds.
func (a *arguments) within(key string, n, least, most int) {
	if a.known(key) && !a.wrong(key) && (n < least || n > most) {
		a.refuse(key, "", "must lie between %d and %d", least, most)
	}
}
