package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// AlertAggregated are the arguments of alert.aggregated.
type AlertAggregated struct {
	// Query keeps to the events of one query, by its name; without it, those of all.
	Query string `yaml:"query"`

	// Column keeps to events that have one of values in that column. It needs query.
	Column string `yaml:"column"`

	// Values are the values of column; none of them holds a comma or an apostrophe.
	Values []string `yaml:"values"`

	// Limit is how many events are kept, from 1 to 1000.
	Limit int `yaml:"limit"`

	// Alert is the server's id of the alert; without it, the alert at hand.
	Alert Number `yaml:"alert"`
}

// AlertAggregatedOutput is what alert.aggregated leaves under .steps.<id>.output.
type AlertAggregatedOutput struct {
	// Events are the events, of each query the newest first. In release 4.0 the event that
	// raised the alert is not among them.
	Events []AggregatedEvent `json:"events"`
	// Total is how many there are on the server.
	Total int `json:"total"`
	// Partial means that not all of them are here.
	Partial bool `json:"partial"`
}

// AggregatedEvent is an event that joined an alert.
type AggregatedEvent struct {
	// Query is the name of the query that reported it.
	Query string `json:"query"`
	// At is when it was reported.
	At time.Time `json:"at"`
	// Action is added, removed or snapshot.
	Action string `json:"action"`
	// Columns are the columns of the event; values are text.
	Columns map[string]string `json:"columns"`
}

// FoundNothing reports whether no event joined the alert.
func (o AlertAggregatedOutput) FoundNothing() bool { return len(o.Events) == 0 && !o.Partial }

func init() {
	add(kind[AlertAggregated]{
		Spec: playbooks.Spec{
			Name:    "alert.aggregated",
			Summary: "Reads the events that joined an alert after it was raised.",
			Effect:  playbooks.Reads,
			Output:  AlertAggregatedOutput{},
			Example: "do: alert.aggregated\nwith:\n  limit: 50\n",
			Timeout: time.Minute,
			OfAlert: true,
		},
		defaults: AlertAggregated{Limit: 100},
		check: func(_ *Deps, in *AlertAggregated, a *arguments) {
			a.within("limit", in.Limit, 1, 1000)
			if !a.known("query") || !a.known("column") || !a.known("values") {
				return
			}
			switch {
			case (in.Column == "") != (len(in.Values) == 0):
				a.refuse("column", "", "column and values need each other")
			case in.Column != "" && in.Query == "":
				a.refuse("column", "name the query", "the server chooses by columns only among the events of one query")
			case slices.ContainsFunc(in.Values, func(v string) bool { return strings.ContainsAny(v, ",'") }):
				a.refuse("values", "", "a value with a comma or an apostrophe cannot be asked for: read all events, and pick from them by jq")
			}
		},
		do: aggregatedEvents,
	})
}

func (in AlertAggregated) query(name string, limit int) connector.AggregatedQuery {
	return connector.AggregatedQuery{QueryName: name, Column: in.Column, Value: strings.Join(in.Values, ","), Limit: limit}
}

func aggregatedEvents(ctx context.Context, d *Deps, call playbooks.Call, in AlertAggregated) (playbooks.Outcome, error) {
	id, err := d.alertID(call, in.Alert)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	output := AlertAggregatedOutput{Events: []AggregatedEvent{}}
	room := rowRoom(maxRowBytes)
	read := func(name string) (counts []connector.AggregatedEvent, err error) {
		page, err := d.Client.Alerts.AggregatedEvents(ctx, id, in.query(name, max(in.Limit-len(output.Events), 1)))
		if err != nil {
			return nil, err
		}
		output.Partial = output.Partial || len(page.Malformed) > 0
		rows := 0
		for _, e := range page.Results {
			if e.Columns == nil && e.Count > 0 {
				counts = append(counts, e)
				continue
			}
			rows++
			if len(output.Events) < in.Limit && room.take([]map[string]string{e.Columns}) == 1 {
				output.Events = append(output.Events, AggregatedEvent{Query: cmp.Or(e.QueryName, name), At: e.Timestamp, Action: e.Action, Columns: e.Columns})
			}
		}
		if len(counts) == 0 {
			output.Total += max(page.Count, rows)
		}
		return counts, nil
	}
	counts, err := read(in.Query)
	// Without the name of a query, release 4.0 gives the names with counts.
	for _, c := range counts {
		if len(output.Events) >= in.Limit {
			output.Total += c.Count
			continue
		}
		if _, err = read(c.QueryName); errors.Is(err, connector.ErrInvalid) { // a name that would break the server's SQL
			output.Total, err = output.Total+c.Count, nil
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		return playbooks.Outcome{}, alertReadError(id, err)
	}
	output.Partial = output.Partial || len(output.Events) < output.Total
	return playbooks.Outcome{
		State: soar.StepExecuted, Output: output,
		Summary: fmt.Sprintf("read %d of %d events that joined alert %d", len(output.Events), output.Total, id),
	}, nil
}
