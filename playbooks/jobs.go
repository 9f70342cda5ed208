package playbooks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// A job does one action on many hosts. It is made of runs, each over some of the hosts,
// of a playbook that is written for it: so the guard, verification, crashes and undo are
// the same as for every run. What ties the runs together is a small record, and the limit
// by which the guard counts the calls of all of them.

// JobOrder is a person's wish to do an action on many hosts.
type JobOrder struct {
	Action string         `json:"action"`
	With   map[string]any `json:"with,omitempty"` // the arguments, without the host; plain JSON
	Hosts  []JobHost      `json:"hosts"`
	// AtOnce is on how many hosts it is under way at the same time; 0: DefaultAtOnce.
	AtOnce int `json:"at_once,omitempty"`
	// Wait is how long a host waits for its turn, for the guard and to come online; 0: as
	// long as the steps of playbooks. It is for actions with an effect.
	Wait time.Duration `json:"wait,omitempty"`
	// Timeout bounds the action on one host; 0: as the action says.
	Timeout time.Duration `json:"timeout,omitempty"`
	By      string        `json:"by"`
	Reason  string        `json:"reason"`
}

// JobHost is a host of a job.
type JobHost struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Job is a job over many hosts. What became of the hosts, the journals of its runs tell.
type Job struct {
	ID     soar.RunID     `json:"job"`
	Action string         `json:"action"`
	With   map[string]any `json:"with,omitempty"`
	Hosts  int            `json:"hosts"`
	AtOnce int            `json:"at_once"`
	By     string         `json:"by"`
	Reason string         `json:"reason"`
	At     time.Time      `json:"started_at"`
	Runs   []soar.RunID   `json:"runs"` // in the order of the hosts
}

const (
	jobPrefix = "job/" // + id
	// jobPart is how many hosts one run has. What a run costs when it goes on grows with
	// the hosts in it, and it goes on once for each of them.
	jobPart = 50
	// MaxJobHosts bounds one job.
	MaxJobHosts = 20_000
	// DefaultAtOnce is on how many hosts a job is under way at the same time.
	DefaultAtOnce = 20
	maxJobAtOnce  = 1000
	// cancelAtOnce is how many runs of a job are called off side by side.
	cancelAtOnce = 16
)

// ErrBadJob wraps errors of jobs that cannot be started as they were ordered.
var ErrBadJob = errors.New("no such job can be started")

func badJob(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadJob, fmt.Sprintf(format, args...))
}

// check looks for mistakes, and returns what the action calls the host.
func (o *JobOrder) check(actions map[string]Action) (argument hostArgument, spec Spec, err error) {
	action := actions[o.Action]
	if action == nil {
		return argument, spec, notThere("action", o.Action, sortedNames(actions))
	}
	spec = action.Spec()
	if argument, err = hostArgumentOf(&spec); err != nil {
		return argument, spec, err
	}
	for _, name := range argument.choosing {
		if _, given := o.With[name]; given {
			return argument, spec, badJob("the argument %s chooses hosts, and the job does that: leave it out", name)
		}
	}
	seen := make(map[string]bool, len(o.Hosts))
	for _, h := range o.Hosts {
		folded := strings.ToLower(h.ID)
		if h.ID == "" || seen[folded] {
			return argument, spec, badJob("host %q stands there twice, or has no identifier", h.ID)
		}
		seen[folded] = true
	}
	switch {
	case len(o.Hosts) == 0:
		err = badJob("it has no hosts")
	case len(o.Hosts) > MaxJobHosts:
		err = badJob("it has %d hosts, the limit is %d; make several jobs of it", len(o.Hosts), MaxJobHosts)
	case o.AtOnce < 0 || o.AtOnce > maxJobAtOnce:
		err = badJob("on %d hosts at the same time; it must be from 1 to %d", o.AtOnce, maxJobAtOnce)
	case o.By == "" || o.Reason == "":
		err = badJob("who starts it says so by name, and why")
	case o.Wait < 0 || o.Timeout < 0:
		err = badJob("its wait is %s and its timeout is %s; neither can be below zero", o.Wait, o.Timeout)
	case o.Wait != 0 && spec.Effect == Reads:
		err = badJob("%s only reads, and does not wait for hosts: leave wait out", o.Action)
	}
	return argument, spec, err
}

// hostArgument is where an action takes its host, of all its arguments.
type hostArgument struct {
	name     string
	list     bool     // it takes several
	choosing []string // all arguments that choose hosts
	others   []string // those that do not, which a job may be given
}

func (h hostArgument) value(host any) any {
	if h.list {
		return []any{host}
	}
	return host
}

func hostArgumentOf(spec *Spec) (h hostArgument, err error) {
	takes := map[string]bool{}
	if spec.Input != nil {
		for _, f := range registry.Fields(reflect.ValueOf(spec.Input).Elem()) {
			takes[f.Name] = true
		}
	}
	h.choosing = []string{"host", "hosts"}
	if takes["all_hosts"] {
		h.choosing = append(h.choosing, "all_hosts", "tags")
	}
	for _, name := range sortedNames(takes) {
		if !slices.Contains(h.choosing, name) {
			h.others = append(h.others, name)
		}
	}
	switch {
	case spec.Asks != nil:
		return h, badJob("%s asks people", spec.Name)
	case spec.Everywhere:
		return h, badJob("%s acts on all hosts at once: a playbook or erbridge api does it", spec.Name)
	case takes["host"]:
		h.name = "host"
	case takes["hosts"]:
		h.name, h.list = "hosts", true
	default:
		return h, badJob("%s acts on no host", spec.Name)
	}
	return h, nil
}

// StartJob starts a job. All of its runs begin with one commit, so that there is all of
// it or nothing. It waits until Run has begun. Errors wrap soar.ErrNotFound when there is no such action, and
// ErrBadJob when the order makes no sense.
func (e *Engine) StartJob(ctx context.Context, o JobOrder) (Job, error) {
	if err := e.waitLoaded(ctx); err != nil {
		return Job{}, err
	}
	pb, err := e.writeJob(&o)
	if err != nil {
		return Job{}, err
	}
	now := e.options.Now().UTC()
	job := Job{
		ID: soar.NewRunID(now), Action: o.Action, With: o.With, Hosts: len(o.Hosts), AtOnce: o.AtOnce, By: o.By, Reason: o.Reason, At: now,
	}
	change := soar.Change{Acts: []soar.Act{{
		At: now, By: o.By, What: fmt.Sprintf("job %s started: %s on %s", job.ID, o.Action, count(len(o.Hosts), "host")), Reason: o.Reason,
	}}}
	parts := slices.Collect(slices.Chunk(o.Hosts, jobPart))
	for i, hosts := range parts {
		plain, err := soar.Plain(hosts)
		if err != nil {
			return Job{}, fmt.Errorf("job: %w", err)
		}
		run := e.beginWritten(&change, pb, &soar.StoredAlert{}, BeganNote{
			Text: fmt.Sprintf("part %d of %d of job %s: %s", i+1, len(parts), job.ID, o.Reason),
			On:   onManual, By: o.By, Extra: seenOfPerson(map[string]any{"hosts": plain}), Job: &guard.Job{ID: job.ID, AtOnce: o.AtOnce},
		})
		job.Runs = append(job.Runs, run.ID)
	}
	gone, err := e.goneJobs(ctx)
	if err != nil {
		return Job{}, err
	}
	value, err := json.Marshal(job)
	if err != nil {
		return Job{}, fmt.Errorf("job: %w", err)
	}
	change.KV = append(change.KV, soar.KV{Key: jobPrefix + job.ID.String(), Value: string(value)})
	change.KV = append(change.KV, gone...)
	if _, err := e.journal.Commit(ctx, change); err != nil {
		return Job{}, fmt.Errorf("job: %w", err)
	}
	e.options.Log.Info("a job has begun", "job", job.ID.String(), "action", o.Action, "hosts", len(o.Hosts), "by", o.By)
	return job, nil
}

// CheckJob looks for mistakes in an order, as StartJob does, and reports whether the job
// may change something.
func (e *Engine) CheckJob(ctx context.Context, o JobOrder) (changes bool, err error) {
	if err := e.waitLoaded(ctx); err != nil {
		return false, err
	}
	pb, err := e.writeJob(&o)
	if err != nil {
		return false, err
	}
	return pb.program[0].spec.Effect != Reads, nil
}

// goneJobs forgets jobs whose runs retention has taken.
func (e *Engine) goneJobs(ctx context.Context) (kvs []soar.KV, err error) {
	all, err := e.journal.KV(ctx, jobPrefix)
	if err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	for _, kv := range all {
		var job Job
		if json.Unmarshal([]byte(kv.Value), &job) == nil && len(job.Runs) > 0 {
			switch _, err := e.journal.GetRun(ctx, job.Runs[len(job.Runs)-1]); {
			case err == nil:
				continue
			case !errors.Is(err, soar.ErrNotFound):
				return nil, fmt.Errorf("job: %w", err)
			}
		}
		kvs = append(kvs, soar.KV{Key: kv.Key})
	}
	return kvs, nil
}

// ReadJobs lists the jobs that a journal knows, newest first. kv reads all values whose
// keys begin with a prefix.
func ReadJobs(kv func(prefix string) ([]soar.KV, error)) ([]Job, error) {
	kvs, err := kv(jobPrefix)
	if err != nil {
		return nil, err
	}
	jobs := make([]Job, 0, len(kvs))
	for _, one := range kvs {
		var job Job
		if err := json.Unmarshal([]byte(one.Value), &job); err != nil {
			return nil, fmt.Errorf("%s: %w", one.Key, err)
		}
		jobs = append(jobs, job)
	}
	slices.SortFunc(jobs, func(a, b Job) int { return cmp.Compare(b.ID, a.ID) })
	return jobs, nil
}

// ReadJob finds a job. An error wraps soar.ErrNotFound when there is none.
func ReadJob(kv func(prefix string) ([]soar.KV, error), id soar.RunID) (Job, error) {
	kvs, err := kv(jobPrefix + id.String())
	if err != nil {
		return Job{}, err
	}
	if len(kvs) == 0 {
		return Job{}, fmt.Errorf("job %s: %w", id, soar.ErrNotFound)
	}
	var job Job
	if err := json.Unmarshal([]byte(kvs[0].Value), &job); err != nil {
		return Job{}, fmt.Errorf("%s: %w", kvs[0].Key, err)
	}
	return job, nil
}

// CancelJob calls off what is left of a job: hosts whose call was sent go to their end.
// It returns how many of its runs were called off. An error wrapping ErrNotCancelled says
// that there was nothing to call off, and soar.ErrNotFound that there is no such job.
func (e *Engine) CancelJob(ctx context.Context, id soar.RunID, by, reason string) (cancelled int, err error) {
	job, err := ReadJob(func(prefix string) ([]soar.KV, error) { return e.journal.KV(ctx, prefix) }, id)
	if err != nil {
		return 0, err
	}
	var mu sync.Mutex
	var errs []error // guarded by mu, as cancelled
	var wg sync.WaitGroup
	places := make(chan struct{}, cancelAtOnce)
	for _, run := range slices.Backward(job.Runs) { // what has come least far first
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			_, err := e.Cancel(ctx, Cancellation{Run: run, By: by, Reason: reason})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				cancelled++
			case !errors.Is(err, ErrNotCancelled):
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return cancelled, fmt.Errorf("job %s: %d of %s called off: %w", id, cancelled, count(len(job.Runs), "run"), err)
	}
	if cancelled == 0 {
		return 0, fmt.Errorf("job %s %w: all of its runs have ended", id, ErrNotCancelled)
	}
	return cancelled, nil
}
