package actions

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// CarveQuarantined are the arguments of carve.quarantined.
type CarveQuarantined struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Path is the full path of the quarantined file.
	Path string `yaml:"path" required:"true"`
}

func init() {
	add(kind[CarveQuarantined]{
		Spec: playbooks.Spec{
			Name:    "carve.quarantined",
			Summary: "Fetches a file that Windows Defender has put into quarantine.",
			Effect:  playbooks.Once,
			Needs:   []string{"enterprise", "response", "windows"},
			Output:  CarveOutput{},
			Example: "do: carve.quarantined\nwith:\n  host: ${{ .alert.host.identifier }}\n  path: C:\\Users\\Public\\dropper.exe\n",
			Timeout: 30 * time.Minute,
			// A look that finds the carve complete downloads it.
			PollTimeout: 30 * time.Minute,
		},
		host: func(in CarveQuarantined) Host { return in.Host },
		do:   carveQuarantined,
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in CarveQuarantined, ref string) (playbooks.Outcome, error) {
			carve, started, err := d.quarantineCarve(ctx, call, in.Host, ref)
			if err != nil {
				return playbooks.Outcome{}, err
			}
			c := carvingOf(call, in.Host, in.Path, ref)
			if !started {
				return c.waits(), nil
			}
			return d.followCarve(ctx, c, carve)
		},
		find: func(ctx context.Context, d *Deps, _ playbooks.Call, in CarveQuarantined, since time.Time) ([]playbooks.Found, error) {
			return d.findCarves(ctx, in.Host, since)
		},
	})
}

// carveQuarantined remembers the newest carve of the host before it asks: the
// server gives no id for this carve, so it is the first one that comes after.
func carveQuarantined(ctx context.Context, d *Deps, call playbooks.Call, in CarveQuarantined) (playbooks.Outcome, error) {
	out, task := playbooks.Outcome{Target: string(in.Host)}, carvingTask(call, in.Host, in.Path)
	if err := d.reachable(ctx, in.Host); err != nil {
		return out, task.failure(err)
	}
	page, err := d.Client.Carves.Page(ctx, connector.CarveQuery{Host: string(in.Host), Limit: 1})
	if err != nil {
		return out, task.failure(fmt.Errorf("carves of the host: %w", readError(err)))
	}
	if len(page.Malformed) > 0 {
		return out, task.failure(fmt.Errorf("carves of the host: %w: %w", playbooks.ErrTransient, errIncomplete))
	}
	var newest int64
	if len(page.Results) > 0 {
		newest = page.Results[0].ID
	}
	if err := d.Client.Defender.CarveQuarantined(ctx, string(in.Host), in.Path); err != nil {
		return out, task.failure(effectError(err))
	}
	out.State, out.PollAfter, out.Summary = soar.StepAccepted, firstPoll, task.asked()
	out.Ref = "after:" + strconv.FormatInt(newest, 10)
	return out, nil
}

// quarantineCarve finds the carve behind a ref: "session:" and its id, or "after:"
// and the id of the carve before. Those that other calls have fetched are left out.
func (d *Deps) quarantineCarve(ctx context.Context, call playbooks.Call, host Host, ref string) (carve connector.Carve, started bool, err error) {
	kind, id, _ := strings.Cut(ref, ":")
	if kind == "session" {
		carve, err = d.carveBySession(ctx, host, id)
		return carve, err == nil, err
	}
	newest, err := strconv.ParseInt(id, 10, 64)
	if err != nil || kind != "after" {
		return carve, false, fmt.Errorf("carve reference %q: expected after: or session:", ref)
	}
	for c, err := range d.Client.Carves.List(ctx, connector.CarveQuery{Host: string(host)}) {
		if err != nil {
			return carve, false, err
		}
		if c.ID <= newest {
			break
		}
		if d.othersCarve(call, c.SessionID) {
			continue
		}
		carve, started = c, true // the list is newest first: the last one is the first that came
	}
	return carve, started, nil
}
