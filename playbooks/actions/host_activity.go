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

// HostActivity are the arguments of host.activity.
type HostActivity struct {
	// Host is the host identifier, or the server's number of the host.
	Host HostRef `yaml:"host" required:"true"`

	// Query is the name of the query whose rows are read, such as
	// windows_process_events. Without it, only the counts of all queries are.
	Query string `yaml:"query" filled:"true"`

	// Search is a part of a value of any column, in whatever case.
	Search string `yaml:"search" filled:"true"`

	// Column and values choose rows that have one of the values in that column. Servers
	// of release 2.x cannot do it.
	Column string `yaml:"column"`

	// Values are the values of column.
	Values []string `yaml:"values"`

	// Limit is how many rows are read at most, up to 1000, the newest first.
	Limit int `yaml:"limit"`
}

// HostActivityOutput is what host.activity leaves under .steps.<id>.output.
type HostActivityOutput struct {
	// Counts are how many rows of each query the host has reported, by the name of the
	// query. The server counts by day, and may have kept fewer.
	Counts map[string]int `json:"counts"`
	// Events are the rows of the query, the newest first.
	Events []ActivityEvent `json:"events"`
	// Partial means that there are more rows than were read.
	Partial bool `json:"partial"`
}

// FoundNothing reports whether the host has reported nothing of what was asked for.
func (o HostActivityOutput) FoundNothing() bool {
	return len(o.Events) == 0 && !o.Partial && len(o.Counts) == 0
}

// ActivityEvent is a row that a host has reported.
type ActivityEvent struct {
	// Time is when it was reported.
	Time time.Time `json:"time"`
	// Columns are its columns, all as text.
	Columns map[string]string `json:"columns"`
}

const maxActivity = 1000

func init() {
	add(kind[HostActivity]{
		Spec: playbooks.Spec{
			Name:    "host.activity",
			Summary: "Reads what a host has reported lately: how much of each query, and the rows of one of them.",
			Effect:  playbooks.Reads,
			Output:  HostActivityOutput{},
			Example: "do: host.activity\nwith:\n  host: ${{ .alert.host.identifier }}\n  query: windows_process_events\n  search: ${{ .alert.event.process_guid }}\n",
			Timeout: 2 * time.Minute,
		},
		defaults: HostActivity{Limit: 100},
		check: func(_ *Deps, in *HostActivity, a *arguments) {
			if a.known("limit") && (in.Limit < 1 || in.Limit > maxActivity) {
				a.refuse("limit", "", "expected a whole number from 1 to %d, found %d", maxActivity, in.Limit)
			}
			if a.known("column") && a.known("values") && (in.Column == "") != (len(in.Values) == 0) {
				a.refuse("values", "", "column and values go together")
			}
			if a.known("query") && in.Query == "" {
				for key, given := range map[string]bool{"search": in.Search != "", "column": in.Column != ""} {
					if given && a.known(key) {
						a.refuse(key, "set query", "chooses among the rows of a query")
					}
				}
			}
		},
		do: readActivity,
	})
}

func readActivity(ctx context.Context, d *Deps, _ playbooks.Call, in HostActivity) (playbooks.Outcome, error) {
	failed := func(err error) (playbooks.Outcome, error) {
		return playbooks.Outcome{}, fmt.Errorf("activity of host %s: %w", in.Host, readError(err))
	}
	output := HostActivityOutput{Counts: map[string]int{}, Events: []ActivityEvent{}}
	if in.Query == "" {
		counts, err := d.Client.Hosts.ActivityCount(ctx, string(in.Host))
		if err != nil {
			return failed(err)
		}
		for _, one := range counts {
			output.Counts[one.Query] = one.Count
		}
		return playbooks.Outcome{State: soar.StepExecuted, Summary: fmt.Sprintf("the host reported rows of %d queries", len(counts)), Output: output}, nil
	}
	room := maxRowBytes
	rows := d.Client.Hosts.Activity(ctx, string(in.Host), connector.ActivityQuery{
		Query: in.Query, Search: in.Search, Column: in.Column, Values: in.Values, Limit: min(in.Limit+1, 100),
	})
	for event, err := range rows {
		if _, malformed := errors.AsType[*connector.MalformedError](err); malformed {
			output.Partial = true
			continue
		}
		if err != nil {
			return failed(err)
		}
		for name, value := range event.Columns {
			room -= len(name) + len(value) + len(`"":"",`)
		}
		if len(output.Events) == in.Limit || room < 0 {
			output.Partial = true
			break
		}
		output.Events = append(output.Events, ActivityEvent{Time: event.Timestamp, Columns: event.Columns})
	}
	if n := len(output.Events); n > 0 {
		output.Counts[in.Query] = n
	}
	return playbooks.Outcome{
		State: soar.StepExecuted, Summary: fmt.Sprintf("read %d rows of %s", len(output.Events), in.Query), Output: output,
	}, nil
}
