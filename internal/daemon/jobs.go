package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// JobStart is a person's wish to do an action on many hosts.
type JobStart struct {
	Action string         `json:"action"`
	With   map[string]any `json:"with,omitempty"`
	Choice HostChoice     `json:"hosts"`

	AtOnce  int           `json:"at_once,omitempty"`
	Wait    time.Duration `json:"wait_ns,omitempty"`
	Timeout time.Duration `json:"timeout_ns,omitempty"`
	By      string        `json:"by"`
	Reason  string        `json:"reason"`
	// Enforce agrees to a job that may change something; without, such a one is refused
	// with playbooks.ErrNotAgreed.
	Enforce bool `json:"enforce,omitempty"`
}

// HostChoice says which hosts of the fleet are meant: those that are named, those of tags
// and platforms, or all.
type HostChoice struct {
	// Names are host names, identifiers or the server's numbers, in any case of letters.
	Names []string `json:"names,omitempty"`
	// Tags chooses hosts with one of them, Platforms those of one: windows, darwin, linux
	// or a distribution. With both, both must hold.
	Tags      []string `json:"tags,omitempty"`
	Platforms []string `json:"platforms,omitempty"`
	All       bool     `json:"all,omitempty"`
}

// JobCancel is a person's word that the rest of a job is not wanted any more.
type JobCancel struct {
	Job    soar.RunID `json:"job,omitzero"`
	By     string     `json:"by"`
	Reason string     `json:"reason"`
}

// check looks for choices that contradict themselves.
func (c *HostChoice) check() error {
	filters := len(c.Tags)+len(c.Platforms) > 0
	switch ways := b2i(len(c.Names) > 0) + b2i(filters) + b2i(c.All); {
	case ways == 0:
		return fmt.Errorf("%w: it names no hosts", playbooks.ErrBadJob)
	case ways > 1:
		return fmt.Errorf("%w: choose hosts in one way: by name, by tag and platform, or all", playbooks.ErrBadJob)
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// from chooses among the hosts of the server. What was chosen by tag or platform and is
// the whole fleet is refused: who means all, says so.
func (c *HostChoice) from(fleet []soar.Host) ([]playbooks.JobHost, error) {
	if len(c.Names) > 0 {
		return c.named(fleet)
	}
	var chosen []playbooks.JobHost
	for _, h := range fleet {
		if c.All || c.holds(&h) {
			chosen = append(chosen, playbooks.JobHost{ID: h.Identifier, Name: h.Name})
		}
	}
	switch {
	case len(chosen) == 0:
		return nil, fmt.Errorf("%w: none of the %d hosts of the server is like that", playbooks.ErrBadJob, len(fleet))
	case len(chosen) == len(fleet) && !c.All:
		return nil, fmt.Errorf("%w: that is every one of the %d hosts of the server; if you mean all of them, say so", playbooks.ErrBadJob, len(fleet))
	}
	return chosen, nil
}

func (c *HostChoice) holds(h *soar.Host) bool {
	one := func(list []string, is ...string) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(want string) bool {
			return slices.ContainsFunc(is, func(have string) bool { return strings.EqualFold(want, have) })
		})
	}
	platforms := []string{h.Platform}
	if h.Platform != "windows" && h.Platform != "darwin" {
		platforms = append(platforms, "linux")
	}
	return one(c.Tags, h.Tags...) && one(c.Platforms, platforms...)
}

// named finds hosts by what people call them. Nothing is chosen when one is not there, or
// when a name means several.
func (c *HostChoice) named(fleet []soar.Host) ([]playbooks.JobHost, error) {
	by := map[string][]int{}
	for i, h := range fleet {
		for _, name := range []string{h.Identifier, h.Name, strconv.FormatInt(h.ID, 10)} {
			if key := strings.ToLower(name); !slices.Contains(by[key], i) {
				by[key] = append(by[key], i)
			}
		}
	}
	var chosen []playbooks.JobHost
	var unknown, ambiguous []string
	seen := map[int]bool{}
	for _, name := range c.Names {
		switch found := by[strings.ToLower(strings.TrimSpace(name))]; len(found) {
		case 0:
			unknown = append(unknown, strconv.Quote(name))
		case 1:
			if h := fleet[found[0]]; !seen[found[0]] {
				seen[found[0]] = true
				chosen = append(chosen, playbooks.JobHost{ID: h.Identifier, Name: h.Name})
			}
		default:
			var ids []string
			for _, i := range found {
				ids = append(ids, fleet[i].Identifier)
			}
			ambiguous = append(ambiguous, fmt.Sprintf("%q is the name of %s", name, strings.Join(ids, " and of ")))
		}
	}
	var errs []error
	if len(unknown) > 0 {
		errs = append(errs, fmt.Errorf("the server has no host %s; nothing was started: %w", some(unknown), soar.ErrNotFound))
	}
	if len(ambiguous) > 0 {
		errs = append(errs, fmt.Errorf("%w: %s; name them by identifier", playbooks.ErrBadJob, some(ambiguous)))
	}
	return chosen, errors.Join(errs...)
}

// some lists a few of many.
func some(list []string) string {
	const few = 10
	if len(list) <= few {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:few], ", "), len(list)-few)
}

// fleet lists the hosts that can be acted on, now or later, by name.
func (d *Daemon) fleet(ctx context.Context, c *HostChoice) (fleet []soar.Host, err error) {
	for row, err := range d.client.Hosts.List(ctx, connector.HostQuery{Enabled: new(true), Limit: 1000}) {
		if _, malformed := errors.AsType[*connector.MalformedError](err); malformed && len(c.Names) > 0 {
			continue // if it is one of those that are meant, its name is not found
		}
		if err != nil {
			return nil, fmt.Errorf("list hosts: %w", err)
		}
		if h := connector.NormalizeHost(row); h.Identifier != "" {
			fleet = append(fleet, h)
		}
	}
	// The server lists hosts in the order of what they did last.
	slices.SortFunc(fleet, func(a, b soar.Host) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Identifier, b.Identifier))
	})
	return fleet, nil
}

// order makes the order of a job. The hosts are those of now: what joins the fleet
// later is no part of it.
func (d *Daemon) order(ctx context.Context, s *JobStart) (playbooks.JobOrder, error) {
	o := playbooks.JobOrder{Action: s.Action, With: s.With, AtOnce: s.AtOnce, Wait: s.Wait, Timeout: s.Timeout, By: s.By, Reason: s.Reason}
	err := s.Choice.check()
	if err != nil {
		return o, err
	}
	fleet, err := d.fleet(ctx, &s.Choice)
	if err != nil {
		return o, err
	}
	o.Hosts, err = s.Choice.from(fleet)
	return o, err
}

// StartJob does an action on many hosts.
func (d *Daemon) StartJob(ctx context.Context, s JobStart) (playbooks.Job, error) {
	engine, err := d.startedEngine(ctx)
	if err != nil {
		return playbooks.Job{}, err
	}
	o, err := d.order(ctx, &s)
	if err != nil {
		return playbooks.Job{}, err
	}
	// Nobody is asked to agree to what cannot be started.
	changes, err := engine.CheckJob(ctx, o)
	if err != nil {
		return playbooks.Job{}, err
	}
	if changes && !s.Enforce {
		return playbooks.Job{}, fmt.Errorf("%s on %d hosts: %w", s.Action, len(o.Hosts), playbooks.ErrNotAgreed)
	}
	// What was agreed to is started, also when the caller hangs up.
	return engine.StartJob(context.WithoutCancel(ctx), o)
}

// RehearseJob tells what would become of each host of a job.
func (d *Daemon) RehearseJob(ctx context.Context, s JobStart) ([]playbooks.JobLine, error) {
	engine, err := d.startedEngine(ctx)
	if err != nil {
		return nil, err
	}
	o, err := d.order(ctx, &s)
	if err != nil {
		return nil, err
	}
	return engine.RehearseJob(ctx, o)
}

// CancelJob calls off what is left of a job.
func (d *Daemon) CancelJob(ctx context.Context, c JobCancel) (runs int, err error) {
	engine, err := d.startedEngine(ctx)
	if err != nil {
		return 0, err
	}
	return engine.CancelJob(ctx, c.Job, c.By, c.Reason)
}

func (f *offline) StartJob(context.Context, JobStart) (playbooks.Job, error) {
	return playbooks.Job{}, ErrNotRunning
}

func (f *offline) RehearseJob(context.Context, JobStart) ([]playbooks.JobLine, error) {
	return nil, ErrNotRunning
}

func (f *offline) CancelJob(ctx context.Context, c JobCancel) (runs int, err error) {
	engine, err := f.engine(ctx)
	if err != nil {
		return 0, err
	}
	return engine.CancelJob(ctx, c.Job, c.By, c.Reason)
}

func (c *controlClient) StartJob(ctx context.Context, s JobStart) (playbooks.Job, error) {
	answer, err := c.call(ctx, "job-start", controlCall{Job: s})
	return answer.Job, err
}

func (c *controlClient) RehearseJob(ctx context.Context, s JobStart) ([]playbooks.JobLine, error) {
	answer, err := c.call(ctx, "job-rehearse", controlCall{Job: s})
	return answer.Lines, err
}

func (c *controlClient) CancelJob(ctx context.Context, cancel JobCancel) (int, error) {
	answer, err := c.call(ctx, "job-cancel", controlCall{JobCancel: cancel})
	return answer.Runs, err
}
