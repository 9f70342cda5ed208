package actions

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// CarveFile are the arguments of carve.file.
type CarveFile struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Path is the full path of the file on the host. It names one file: the
	// wildcards % and * of osquery are refused.
	Path string `yaml:"path" required:"true"`
}

func init() {
	add(kind[CarveFile]{
		Spec: playbooks.Spec{
			Name:    "carve.file",
			Summary: "Fetches a file from a host into the folder for carves, with its hash.",
			Effect:  playbooks.Once,
			Output:  CarveOutput{},
			Example: "do: carve.file\nwith:\n  host: ${{ .alert.host.identifier }}\n  path: ${{ .alert.event.target_path }}\n",
			Timeout: 30 * time.Minute,
			// A look that finds the carve complete downloads it.
			PollTimeout: 30 * time.Minute,
		},
		check: func(_ *Deps, in *CarveFile, a *arguments) {
			if a.known("path") && strings.ContainsAny(in.Path, "%*") {
				a.refuse("path", "", "a path with %% or * may name many files")
			}
		},
		host: func(in CarveFile) Host { return in.Host },
		do:   carveFile,
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in CarveFile, ref string) (playbooks.Outcome, error) {
			carve, started, err := d.carveOf(ctx, in.Host, ref)
			if err != nil {
				return playbooks.Outcome{}, err
			}
			c := carvingOf(call, in.Host, in.Path, ref)
			if !started {
				return c.waits(), nil
			}
			return d.followCarve(ctx, c, carve)
		},
		find: func(ctx context.Context, d *Deps, _ playbooks.Call, in CarveFile, since time.Time) ([]playbooks.Found, error) {
			return d.findCarves(ctx, in.Host, since)
		},
	})
}

func carveFile(ctx context.Context, d *Deps, call playbooks.Call, in CarveFile) (playbooks.Outcome, error) {
	out, task := playbooks.Outcome{Target: string(in.Host)}, carvingTask(call, in.Host, in.Path)
	// osquery carves what a select on this table matches, when carve is 1.
	statement, err := bindSQL("select * from carves where path = :path and carve = 1", map[string]any{"path": in.Path})
	if err != nil {
		return out, task.failure(err)
	}
	ticket, err := d.Client.Queries.Live(ctx, connector.LiveQuery{
		SQL: statement, Hosts: []string{string(in.Host)}, Description: "erbridge carve.file",
	})
	if err != nil {
		if errors.Is(err, connector.ErrUncertain) || errors.Is(err, connector.ErrNotSent) {
			return out, task.failure(effectError(err))
		}
		return out, task.failure(d.queryError(ctx, string(in.Host), err))
	}
	out.State, out.PollAfter, out.Summary = soar.StepAccepted, firstPoll, task.asked()
	out.Ref = "query:" + strconv.FormatInt(ticket.QueryID, 10)
	return out, nil
}

// carveOf finds the carve behind a ref: "query:" and the id of the live query
// that asked for it, or "session:" and its own id.
func (d *Deps) carveOf(ctx context.Context, host Host, ref string) (carve connector.Carve, started bool, err error) {
	kind, id, _ := strings.Cut(ref, ":")
	switch kind {
	case "session":
		carve, err = d.carveBySession(ctx, host, id)
		return carve, err == nil, err
	case "query":
		query, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return carve, false, fmt.Errorf("carve reference %q: %w", ref, err)
		}
		carve, err = d.Client.Carves.ByQuery(ctx, query, string(host))
		// The server refuses to answer as long as the host has not begun.
		if errors.Is(err, connector.ErrNotFound) || errors.Is(err, connector.ErrRefused) {
			return carve, false, nil
		}
		return carve, err == nil, err
	}
	return carve, false, fmt.Errorf("carve reference %q: expected query: or session:", ref)
}
