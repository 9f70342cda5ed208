package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// QueryAdd are the arguments of query.add.
type QueryAdd struct {
	// Name is the name of the query; of one that is there already nothing is changed.
	Name string `yaml:"name" required:"true"`

	// SQL is one select statement of osquery's dialect. It stands in the playbook, where it
	// is reviewed, and cannot be computed.
	SQL string `yaml:"sql" required:"true"`

	// Interval is the time between two runs, whole seconds.
	Interval time.Duration `yaml:"interval" required:"true"`

	// Platform keeps to hosts of a platform.
	Platform string `yaml:"platform" enum:"all,windows,linux,darwin,freebsd,posix"`

	// Version is the smallest version of osquery that runs it.
	Version string `yaml:"version"`

	// Description says what it is for.
	Description string `yaml:"description"`

	// Value says what its rows are good for.
	Value string `yaml:"value"`

	// Snapshot makes each run tell all rows, not only what came and went.
	Snapshot bool `yaml:"snapshot"`

	// Tags are the tags whose hosts run it. Without tags and packs, no host does.
	Tags []string `yaml:"tags"`

	// Packs are the names of packs that it becomes part of.
	Packs []string `yaml:"packs"`
}

// QueryAddOutput is what query.add leaves under .steps.<id>.output.
type QueryAddOutput struct {
	// Query is the server's id of the query.
	Query int64 `json:"query"`
	// Name is the name of the query.
	Name string `json:"name"`
	// Added tells whether it was not there before.
	Added bool `json:"added"`
}

func init() {
	adding := change[QueryAdd, QueryAddOutput]{
		make: addQuery,
		look: func(ctx context.Context, d *Deps, _ playbooks.Call, in QueryAdd, _ QueryAddOutput) (string, error) {
			query, there, err := d.scheduledQuery(ctx, in.Name)
			switch {
			case err != nil:
				return "", err
			case !there:
				return "has no query " + soar.Visible(in.Name), nil
			}
			return in.differsFrom(query), nil
		},
		words: func(_ playbooks.Call, in QueryAdd, changed QueryAddOutput) string {
			return "added the scheduled query " + changed.Name
		},
	}
	add(kind[QueryAdd]{
		Spec: playbooks.Spec{
			Name:       "query.add",
			Summary:    "Adds a scheduled query, which the agents of all hosts with one of its tags run by themselves.",
			Effect:     playbooks.Repeatable,
			Needs:      []string{"admin"},
			Everywhere: true,
			Output:     QueryAddOutput{},
			Example:    "do: query.add\nwith:\n  name: run-keys\n  sql: select key, name, data from registry where key like 'HKEY_USERS\\%\\Run'\n  interval: 10m\n  platform: windows\n  tags: [under-investigation]\n",
			Timeout:    2 * time.Minute,
		},
		check: func(_ *Deps, in *QueryAdd, a *arguments) {
			checkScheduled("", in.Name, in.SQL, in.Interval, a)
			for _, tag := range in.Tags {
				if err := connector.CheckTag(tag); err != nil && a.known("tags") {
					a.refuse("tags", "", "%v", err)
				}
			}
		},
		ready: func(ctx context.Context, d *Deps, _ playbooks.Call, in QueryAdd) error {
			query, there, err := d.scheduledQuery(ctx, in.Name)
			switch {
			case err != nil:
				return err
			case there && in.differsFrom(query) == "":
				return fmt.Errorf("%w: the server has the query %s", playbooks.ErrNothingToDo, query.Name)
			case there:
				return in.taken(query)
			}
			return d.mayAdminister(ctx, "adding a query")
		},
		do:   adding.do,
		poll: adding.poll,
	})
}

// checkScheduled looks at what all scheduled queries have. what names the query in a list.
func checkScheduled(what, name, sql string, interval time.Duration, a *arguments) {
	in := func(key string) string {
		if what != "" {
			return "queries"
		}
		return key
	}
	if strings.TrimSpace(name) != name || strings.ContainsFunc(name, soar.IsHidden) {
		a.refuse(in("name"), "", "%sthe name has hidden characters, or blanks at its ends", what)
	}
	switch {
	case !a.known(in("sql")):
		a.refuse(in("sql"), "write the statement into the playbook", "a statement must not be put together from values of an alert")
	case sql != "":
		if err := onlyReads(sql); err != nil {
			a.refuse(in("sql"), "", "%s%v", what, err)
		}
	}
	if _, given := a.values[in("interval")]; (given || what != "") && a.known(in("interval")) && !a.wrong(in("interval")) && (interval < time.Second || interval%time.Second != 0 || interval > 365*24*time.Hour) {
		a.refuse(in("interval"), "", "%sexpected whole seconds, from 1s to 365d", what)
	}
}

func (in QueryAdd) taken(query connector.ScheduledQuery) error {
	return fmt.Errorf("the server has another query %s (%s), of which nothing is changed: take another name, or change it in the server's console",
		query.Name, in.differsFrom(query))
}

// differsFrom says how a query on the server is another one than this; empty when it is not.
func (in QueryAdd) differsFrom(q connector.ScheduledQuery) string {
	switch {
	case strings.TrimSpace(q.SQL) != strings.TrimSpace(in.SQL):
		return "its SQL is another one"
	case q.Interval != in.Interval:
		return fmt.Sprintf("its interval is %s", q.Interval)
	case in.Platform != "" && q.Platform != in.Platform:
		return "its platform is " + q.Platform
	case q.Snapshot != in.Snapshot:
		return fmt.Sprintf("snapshot is %t", q.Snapshot)
	}
	if lacking := without(in.Tags, q.Tags); len(lacking) > 0 {
		return "it lacks the tags " + strings.Join(lacking, ", ")
	}
	if lacking := without(in.Packs, q.Packs); len(lacking) > 0 {
		return "it is not in the packs " + strings.Join(lacking, ", ")
	}
	return ""
}

func addQuery(ctx context.Context, d *Deps, _ playbooks.Call, in QueryAdd) (QueryAddOutput, error) {
	query, there, err := d.scheduledQuery(ctx, in.Name)
	changed := QueryAddOutput{Query: query.ID, Name: in.Name}
	switch {
	case err != nil:
		return changed, err
	case there && in.differsFrom(query) == "":
		return changed, nil
	case there:
		return changed, in.taken(query)
	}
	changed.Added = true
	changed.Query, err = d.Client.Queries.Add(ctx, connector.ScheduledQuery{
		Name: in.Name, SQL: in.SQL, Interval: in.Interval, Platform: in.Platform, Version: in.Version,
		Description: soar.Visible(in.Description), Value: soar.Visible(in.Value), Snapshot: in.Snapshot, Tags: in.Tags, Packs: in.Packs,
	})
	if err != nil {
		return changed, fmt.Errorf("query %s: %w", in.Name, effectError(err))
	}
	return changed, nil
}

// scheduledQuery finds a scheduled query by its name.
func (d *Deps) scheduledQuery(ctx context.Context, name string) (connector.ScheduledQuery, bool, error) {
	for q, err := range d.Client.Queries.List(ctx, connector.ScheduledFilter{Search: searchable(name)}) {
		if _, malformed := errors.AsType[*connector.MalformedError](err); malformed {
			continue
		}
		if err != nil {
			return q, false, fmt.Errorf("scheduled queries: %w", readError(err))
		}
		if q.Name == name {
			return q, true, nil
		}
	}
	return connector.ScheduledQuery{}, false, nil
}

// searchable is what to search a name by; nothing where the name itself would mean
// something else in the server's SQL.
func searchable(name string) string {
	if strings.ContainsAny(name, `\%_`) {
		return ""
	}
	return name
}
