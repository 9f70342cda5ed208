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
	for _, answer := range results.Hosts {
		if answer.Failed {
			return nil, fmt.Errorf("the live query failed on %s", host)
		}
		return answer.Rows, nil
	}
	return nil, errNoAnswer
}

// gone verifies that what an action removed is no longer there: the query finds
// it while it is. A process may take a moment to die, so there is a second look.
// Without an answer, the step stays executed and says that nobody looked.
func (d *Deps) gone(ctx context.Context, host Host, what, sql string, values map[string]any) playbooks.Outcome {
	for attempt := 1; ; attempt++ {
		rows, err := d.ask(ctx, host, sql, values)
		switch {
		case err != nil:
			return playbooks.Outcome{State: soar.StepExecuted, Summary: fmt.Sprintf("%s; not verified: %v", what, err)}
		case len(rows) == 0:
			return playbooks.Outcome{State: soar.StepVerified, Summary: what + "; verified on the host"}
		case attempt == 2:
			return playbooks.Outcome{
				State:   soar.StepFailed,
				Summary: "failed: " + what,
				Error:   fmt.Sprintf("the host reports success, and a live query still finds it: %v", rows[0]),
			}
		}
		select {
		case <-ctx.Done():
			return playbooks.Outcome{State: soar.StepExecuted, Summary: what + "; not verified: " + context.Cause(ctx).Error()}
		case <-time.After(time.Second):
		}
	}
}
