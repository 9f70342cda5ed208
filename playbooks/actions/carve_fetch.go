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

// CarveFetch are the arguments of carve.fetch.
type CarveFetch struct {
	// Session is the server's id of the carve, as carve.list shows it.
	Session string `yaml:"session" required:"true"`
}

func init() {
	add(kind[CarveFetch]{
		Spec: playbooks.Spec{
			Name:    "carve.fetch",
			Summary: "Downloads a carve that is on the server already into the folder for carves, with its hash.",
			Effect:  playbooks.Repeatable,
			Output:  CarveOutput{},
			Example: "do: carve.fetch\nwith:\n  session: A7NSDDG5NN\n",
			Timeout: 30 * time.Minute,
			// A look that finds the carve complete downloads it.
			PollTimeout: 30 * time.Minute,
		},
		check: func(_ *Deps, in *CarveFetch, a *arguments) { checkSession(in.Session, a) },
		ready: func(ctx context.Context, d *Deps, _ playbooks.Call, in CarveFetch) error {
			if d.Evidence == nil {
				return errors.New("there is no folder for carves: set actions.carve_dir")
			}
			_, err := d.carve(ctx, in.Session)
			return err
		},
		do: func(_ context.Context, _ *Deps, call playbooks.Call, in CarveFetch) (playbooks.Outcome, error) {
			// The download may take longer than a call.
			return playbooks.Outcome{
				State: soar.StepAccepted, Ref: "session:" + in.Session, PollAfter: firstPoll, Summary: fetchTask(in).asked(),
			}, nil
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in CarveFetch, ref string) (playbooks.Outcome, error) {
			carve, err := d.carve(ctx, in.Session)
			if errors.Is(err, soar.ErrNotFound) {
				return playbooks.Outcome{State: soar.StepFailed, Summary: fetchTask(in).failed(), Error: err.Error()}, nil
			}
			if err != nil {
				return playbooks.Outcome{}, err
			}
			host, err := d.carvedHost(ctx, carve)
			if err != nil {
				return playbooks.Outcome{}, err
			}
			return d.followCarve(ctx, carving{call, host, "", ref, fetchTask(in)}, carve)
		},
	})
}

func fetchTask(in CarveFetch) task { return task{"fetch", "fetched", "carve " + in.Session} }

// checkSession refuses what can be no session, before it is part of a path.
func checkSession(session string, a *arguments) {
	if a.known("session") && (session == "" || len(session) > 64 || strings.Trim(session, letters+strings.ToUpper(letters)+"0123456789") != "") {
		a.refuse("session", "", "expected letters and digits, as carve.list shows it")
	}
}

const letters = "abcdefghijklmnopqrstuvwxyz"

// carve finds a carve on the server by its session, whatever its host.
func (d *Deps) carve(ctx context.Context, session string) (connector.Carve, error) {
	for carve, err := range d.Client.Carves.List(ctx, connector.CarveQuery{Search: session}) {
		if err != nil {
			return carve, fmt.Errorf("carve %s: %w", session, readError(err))
		}
		if carve.SessionID == session {
			return carve, nil
		}
	}
	return connector.Carve{}, fmt.Errorf("carve %s: %w: the server has no such carve (any more); carve.list shows those that it has", session, soar.ErrNotFound)
}

// carvedHost is the identifier of the host that a carve came from, where the server
// still knows that host.
func (d *Deps) carvedHost(ctx context.Context, carve connector.Carve) (Host, error) {
	host, err := d.Client.Hosts.Get(ctx, strconv.FormatInt(carve.NodeID, 10))
	switch {
	case errors.Is(err, connector.ErrNotFound), errors.Is(err, connector.ErrRefused):
		return Host(carve.Hostname), nil
	case err != nil:
		return "", fmt.Errorf("host of carve %s: %w", carve.SessionID, readError(err))
	}
	return Host(host.Identifier), nil
}
