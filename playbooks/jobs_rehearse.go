package playbooks

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// rehearseAtOnce is how many hosts are looked at side by side.
const rehearseAtOnce = 8

// RehearseJob tells what would become of each host if the job were started now, and
// changes nothing. The guard is asked for one host after the other, as if those before it
// had gone out: so a budget that is too small for all of them shows. The state of a line
// is sent, held, asks, or the state in which its step would end, such as refused.
func (e *Engine) RehearseJob(ctx context.Context, o JobOrder) ([]JobLine, error) {
	if err := e.waitLoaded(ctx); err != nil {
		return nil, err
	}
	pb, err := e.writeJob(&o)
	if err != nil {
		return nil, err
	}
	s := pb.program[0]
	argument, _ := hostArgumentOf(&s.spec) // checked by writeJob
	lines := make([]JobLine, len(o.Hosts))
	for i, h := range o.Hosts {
		lines[i] = JobLine{Host: h.ID, Name: h.Name, Step: itemKey(jobStep, i)}
	}
	g, err := e.guard.Rehearsal(func(prefix string) ([]soar.KV, error) { return e.journal.KV(ctx, prefix) })
	if err != nil {
		return nil, err
	}
	now, job := e.options.Now().UTC(), &guard.Job{ID: soar.NewRunID(e.options.Now()), AtOnce: o.AtOnce}
	alert := &soar.Alert{}
	mode, _ := effectiveMode(pb, e.options.Ceiling, alert)
	run := soar.Run{ID: job.ID, Playbook: pb.Name, Mode: mode, StartedAt: now}
	looks := make([]hostLook, len(lines))
	var wg sync.WaitGroup
	places := make(chan struct{}, rehearseAtOnce)
	for i := range lines {
		looks[i].with = maps.Clone(o.With)
		if looks[i].with == nil {
			looks[i].with = map[string]any{}
		}
		looks[i].with[argument.name] = argument.value(lines[i].Host)
		if s.spec.Effect == Reads {
			continue // as in the run, nothing is read of its host first
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			looks[i].read(ctx, e, s, Call{Run: run.ID, Step: lines[i].Step, With: looks[i].with, Mark: mark(run.ID, lines[i].Step, 1)})
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i := range lines {
		line, look := &lines[i], &looks[i]
		r := newRequest(e.options.Ceiling, &run, line.Step, s, []*Playbook{pb}, alert, look.with, look.hosts, now, now)
		r.By, r.Job, r.Attempt, r.Reads = o.By, job, 1, s.spec.Effect == Reads
		d := g.Ask(r)
		answers := d.Answers
		switch {
		case d.OK && look.ready != nil && !look.ready.OK:
			answers = append(answers, *look.ready)
		case d.OK:
			d = g.Take(r)
			d.Settle(true)
			answers = d.Answers
			_, _, settle := g.End(run.ID, line.Step, soar.StepExecuted, now) // so that it keeps no other waiting
			settle(true)
		default:
			_, _, settle := g.Refused(r, answers)
			settle(true)
		}
		told := GuardAnswer{Answers: answers}
		told.decide(g, r)
		line.State, line.Words = string(told.Plan), told.Words
		if i := slices.IndexFunc(answers, func(a Answer) bool { return !a.OK }); i >= 0 && answers[i].State != "" {
			line.State = string(answers[i].State)
		}
	}
	return lines, nil
}

// hostLook is what is read of a host before the guard is asked.
type hostLook struct {
	with  map[string]any
	hosts []guard.Host
	ready *Answer // nil: the action looks at nothing
}

func (l *hostLook) read(ctx context.Context, e *Engine, s *step, call Call) {
	l.hosts = e.reader.readHosts(ctx, &call.Alert, l.with)
	if action, looks := s.action.(Readier); looks && ctx.Err() == nil {
		answer := readiness(ctx, action, call, e.options.Now().UTC(), e.options.CallTimeout)
		l.ready = &answer
	}
}
