package playbooks

import (
	"github.com/erbridge/erbridge/internal/soar"
)

// Some runs are of a playbook that stands in no file: the engine has written it for
// them. It is kept as a version like those of files, so that such a run is worked on,
// guarded, recovered and audited as every other is.

// write reads a playbook that the engine has written. file is what mistakes in it name.
func (e *Engine) write(file string, source []byte) (*Playbook, error) {
	pb, problems := ParseWithClock(file, source, e.actions, e.options.Now)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.versions.add(pb)
	return pb, nil
}

// beginWritten adds a run of such a playbook to a change. a is the alert that it is
// about; an empty one when there is none. Once the change is committed, the run goes on
// by itself.
func (e *Engine) beginWritten(change *soar.Change, pb *Playbook, a *soar.StoredAlert, note BeganNote) soar.Run {
	now := e.options.Now().UTC()
	mode, why := effectiveMode(pb, e.options.Ceiling, &a.Alert)
	run := soar.Run{
		ID: soar.NewRunID(now), AlertKey: a.Key, Playbook: pb.Name, Version: pb.Hash,
		Mode: mode, State: soar.RunWaiting, Wake: now, Epoch: 1, StartedAt: now,
	}
	if a.Key != 0 {
		run.Alert = a.Alert.Ref()
	}
	answers := []Answer{{Check: "mode", OK: true, Words: string(mode) + ": " + why}}
	if note.By != "" {
		answers = append(answers, Answer{Check: "started", OK: true, Words: "by " + note.By})
	}
	r := e.newRunner(run, pb, &a.Alert, nil, newFindings(nil))
	r.entry("", soar.EntryNote, "", note)
	seq := r.entry("", soar.EntryDecision, "", Decision{Answers: answers})
	r.event(soar.EventRunStarted, seq, nil)
	if len(change.Playbooks) == 0 || change.Playbooks[len(change.Playbooks)-1].Hash != pb.Hash {
		e.keepVersion(change, pb)
	}
	change.Runs = append(change.Runs, run)
	change.Entries = append(change.Entries, r.change.Entries...)
	change.Events = append(change.Events, r.change.Events...)
	return run
}
