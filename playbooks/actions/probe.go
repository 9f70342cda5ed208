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

// errNoAnswer means that a host did not answer a live query in time.
var errNoAnswer = errors.New("no answer from the host in time")

// ask runs a live query on one host and returns its rows. It waits for at most
// the probe time-out.
func (d *Deps) ask(ctx context.Context, host Host, sql string, values map[string]any) ([]map[string]string, error) {
	statement, err := bindSQL(sql, values)
	if err != nil {
		return nil, err
	}
	ticket, err := d.Client.Queries.Live(ctx, connector.LiveQuery{SQL: statement, Hosts: []string{string(host)}, Description: "erbridge verification"})
	if err != nil {
		return nil, err
	}
	results, err := d.Client.Queries.Results(ctx, ticket, d.ProbeTimeout)
	if err != nil {
		return nil, err
	}
	switch {
	case len(results.Hosts) == 0:
		return nil, errNoAnswer
	case results.Hosts[0].Failed:
		return nil, fmt.Errorf("the live query failed on %s", host)
	}
	return results.Hosts[0].Rows, nil
}

// probe is an independent look at a host after it reported success.
type probe struct {
	task   task
	sql    string
	values map[string]any
	// wrong looks at the rows and says what contradicts the report; empty: nothing.
	wrong func(rows []map[string]string) string
	// unclear says why rows that contradict nothing confirm nothing either; nil for
	// never.
	unclear func(rows []map[string]string) string
}

// verify looks whether a host did what it reports. A process may take a moment to
// die, so there is a second look. Without a clear answer nobody knows yet, and the
// engine asks again.
func (d *Deps) verify(ctx context.Context, host Host, p probe) playbooks.Outcome {
	for attempt := 1; ; attempt++ {
		rows, err := d.ask(ctx, host, p.sql, p.values)
		if err != nil {
			return p.task.unverified(err.Error())
		}
		wrong, unclear := p.wrong(rows), ""
		if p.unclear != nil {
			unclear = p.unclear(rows)
		}
		switch {
		case wrong == "" && unclear != "" && attempt == 2:
			return p.task.unverified(unclear)
		case wrong == "" && unclear == "":
			return playbooks.Outcome{State: soar.StepVerified, Summary: p.task.finished() + "; verified on the host"}
		case wrong != "" && attempt == 2:
			return playbooks.Outcome{
				State: soar.StepFailed, Summary: p.task.failed(), Error: "the host reports success, but " + wrong, Executed: true,
			}
		}
		select {
		case <-ctx.Done():
			return p.task.unverified(context.Cause(ctx).Error())
		case <-time.After(time.Second):
		}
	}
}

// unverified is the outcome of a command that was executed, and that nobody could look
// at.
func (t task) unverified(why string) playbooks.Outcome {
	return playbooks.Outcome{State: soar.StepAccepted, Summary: t.finished(), Unverified: why}
}
