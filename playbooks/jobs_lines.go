package playbooks

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// JobLine is what became of one host of a job.
type JobLine struct {
	Host string `json:"host"`
	Name string `json:"name,omitempty"`
	// State is that of its step. Before the call is sent it is planned, or held while the
	// guard or the host lets it wait.
	State string `json:"state"`
	// Words say what was done, or why it was not, or what it waits for.
	Words string `json:"words,omitempty"`
	// StartedAt is when its call went out.
	StartedAt time.Time  `json:"started_at,omitzero"`
	EndedAt   time.Time  `json:"ended_at,omitzero"`
	Run       soar.RunID `json:"run,omitzero"`
	Step      string     `json:"step,omitempty"`
	Ref       string     `json:"ref,omitempty"` // the server's command id
	Output    any        `json:"output,omitempty"`
}

// The states of a line before its call is sent.
const (
	linePlanned = string(soar.StepPlanned)
	lineHeld    = "held"
)

// LineStates are all states of a line.
var LineStates = []string{
	linePlanned, lineHeld, string(soar.StepSent), string(soar.StepAccepted), string(soar.StepExecuted), string(soar.StepVerified),
	string(soar.StepFailed), string(soar.StepRefused), string(soar.StepExpired), string(soar.StepCancelled), string(soar.StepSuppressed),
	string(soar.StepObserved), string(soar.StepSkipped), string(soar.StepUnknown),
}

// Over reports whether nothing more happens on the host by itself.
func (l *JobLine) Over() bool {
	switch l.State {
	case linePlanned, lineHeld, string(soar.StepSent), string(soar.StepAccepted):
		return false
	}
	return true
}

// JobLines reads what became of the hosts of one run of a job, in the order of the hosts.
func JobLines(run soar.Run, entries []soar.Entry) ([]JobLine, error) {
	var lines []JobLine
	at := map[string]*JobLine{} // by step
	called := ""
	for i := range entries {
		entry := &entries[i]
		line := at[entry.Step]
		var err error
		switch {
		case entry.Step == "" && entry.Kind == soar.EntryNote && lines == nil:
			if lines, err = plannedLines(run.ID, entry.Body); err == nil {
				for j := range lines {
					at[lines[j].Step] = &lines[j]
				}
			}
		case entry.Step == "" && entry.Kind == soar.EntryDecision:
			var d Decision
			if err = json.Unmarshal(entry.Body, &d); err == nil && d.Cancel {
				called = (&Cancellation{By: d.By, Reason: d.Reason}).words()
			}
		case line != nil:
			err = line.read(entry)
		}
		if err != nil {
			return nil, fmt.Errorf("run %s: journal entry %d: %w", run.ID, entry.Seq, err)
		}
	}
	for i := range lines {
		if l := &lines[i]; !l.Over() {
			l.leave(&run, called)
		}
	}
	return lines, nil
}

// plannedLines are the lines of a run that has just begun.
func plannedLines(run soar.RunID, note json.RawMessage) ([]JobLine, error) {
	var began struct {
		Extra struct {
			Input struct {
				Hosts []JobHost `json:"hosts"`
			} `json:"input"`
		} `json:"extra"`
	}
	if err := json.Unmarshal(note, &began); err != nil {
		return nil, err
	}
	lines := make([]JobLine, len(began.Extra.Input.Hosts))
	for i, h := range began.Extra.Input.Hosts {
		lines[i] = JobLine{Host: h.ID, Name: h.Name, State: linePlanned, Run: run, Step: itemKey(jobStep, i)}
	}
	return lines, nil
}

// read takes over what an entry says of the host.
func (l *JobLine) read(entry *soar.Entry) error {
	switch entry.Kind {
	case soar.EntryDecision:
		var d Decision
		if err := json.Unmarshal(entry.Body, &d); err != nil || len(d.Answers) == 0 {
			return err
		}
		switch last := d.Answers[len(d.Answers)-1]; {
		case d.Waits != nil:
			l.State, l.Words, l.StartedAt = lineHeld, last.Words, time.Time{}
		case last.OK: // it goes out
			l.State, l.Words, l.StartedAt = string(soar.StepSent), "", entry.At
		}
	case soar.EntryIntent:
		l.State, l.Words = string(soar.StepSent), ""
		if l.StartedAt.IsZero() {
			l.StartedAt = entry.At
		}
	case soar.EntrySent:
		var sent Sent
		if err := json.Unmarshal(entry.Body, &sent); err != nil {
			return err
		}
		l.State, l.Words, l.Ref = string(soar.StepAccepted), sent.Summary, entry.Ref
	case soar.EntryNote:
		var note StepNote
		if err := json.Unmarshal(entry.Body, &note); err != nil {
			return err
		}
		l.Words = note.Text
		if note.Error != "" {
			l.Words += ": " + note.Error
		}
	case soar.EntryResult:
		var result Result
		if err := json.Unmarshal(entry.Body, &result); err != nil {
			return err
		}
		l.State, l.Words, l.EndedAt, l.Output = string(result.State), result.Summary, entry.At, result.Output
		if result.Error != "" {
			l.Words = result.Error
		}
		if result.Ref != "" {
			l.Ref = result.Ref
		}
	}
	return nil
}

// leave says of a host whose step has not ended why it has not, where the run knows.
func (l *JobLine) leave(run *soar.Run, called string) {
	before := l.State == linePlanned || l.State == lineHeld
	switch {
	case run.State == soar.RunUnknown && before:
		l.Words = fmt.Sprintf("goes on when the run is settled: %s; erbridge runs settle %s", run.Error, run.ID)
	case run.State.Ended() && before: // called off, or given up
		l.State, l.Words = string(soar.StepCancelled), "never sent: "+cmp.Or(called, run.Error)
	case run.State.Ended():
		l.State, l.Words = string(soar.StepUnknown), run.Error
	case called != "" && before:
		l.State, l.Words = string(soar.StepCancelled), "never sent: "+called
	case l.State == linePlanned:
		l.Words = "has not begun"
	}
}
