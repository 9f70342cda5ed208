package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// maxShown bounds how many examples of one kind of trouble are named.
const maxShown = 5

// findings are the troubles of one kind.
type findings struct {
	what     string
	examples []string
	n        int
}

func (f *findings) add(format string, args ...any) {
	f.n++
	if len(f.examples) < maxShown {
		f.examples = append(f.examples, fmt.Sprintf(format, args...))
	}
}

func (f *findings) err() error {
	if f.n == 0 {
		return nil
	}
	return fmt.Errorf("%s: %d, such as %s", f.what, f.n, strings.Join(f.examples, "; "))
}

// compare holds server, store and sinks against one another.
func (r *rig) compare(ctx context.Context) (figures string, err error) {
	state, err := r.state(ctx, "")
	if err != nil {
		return "", err
	}
	s, err := store.OpenReader(ctx, filepath.Join(r.dir, "data"))
	if err != nil {
		return "", err
	}
	defer s.Close()
	counts, err := s.Counts(ctx)
	if err != nil {
		return "", err
	}
	if _, err := s.VerifyAudit(ctx, store.AuditCheck{}); err != nil {
		return "", err
	}
	file, err := readArchive(filepath.Join(r.dir, "events.ndjson"))
	if err != nil {
		return "", err
	}
	siem, err := readSyslog(r.syslog.Messages())
	if err != nil {
		return "", err
	}

	lost := &findings{what: "alerts lost"}
	undone := &findings{what: "actions without one run that is done"}
	for _, a := range state.Alerts {
		ref := fmt.Sprintf("er-%d", a.ID)
		if _, err := s.AlertByRef(ctx, ref); err != nil {
			lost.add("%s: %v", ref, err)
		}
		if a.ID%2 != 0 {
			continue
		}
		runs, err := s.Runs(ctx, store.RunFilter{Alert: ref, Limit: 10})
		if err != nil {
			return "", err
		}
		if len(runs) != 1 || runs[0].State != soar.RunDone {
			undone.add("%s has %d runs: %+v", ref, len(runs), runs)
		}
	}
	twice := &findings{what: "actions sent twice"}
	sent := map[string]bool{}
	for _, c := range state.Commands {
		if c.Kind == "defender/computer-status" {
			continue // it only reads
		}
		key := fmt.Sprintf("%s %s %v", c.Kind, c.Host, c.Parameters)
		if sent[key] || c.Received > 1 {
			twice.add("%s (%d times)", key, c.Received)
		}
		sent[key] = true
	}
	cases, badCases, err := compareCases(ctx, s, &state)
	if err != nil {
		return "", err
	}
	missing, err := missingEvents(ctx, s, map[string]map[string]int{"the file": file, "syslog": siem})
	if err != nil {
		return "", err
	}
	figures = fmt.Sprintf(`  alerts                 %d raised, %d in the store
  actions                %d alerts called for one, %d commands at the server
  runs                   %d done, %d failed, %d unknown
  events                 %d in the feed; delivered %d to the file (%d repeats), %d to syslog (%d repeats)
  starts of erbridge     %d
%s`, len(state.Alerts), counts.Alerts, len(state.Alerts)/2, len(state.Commands),
		counts.RunsByState[soar.RunDone], counts.RunsByState[soar.RunFailed], counts.RunsByState[soar.RunUnknown],
		counts.Feed, len(file), repeats(file), len(siem), repeats(siem), r.starts, cases)
	problems := []error{lost.err(), undone.err(), twice.err(), badCases, missing}
	if len(state.Alerts) != r.alerts {
		problems = append(problems, fmt.Errorf("the simulator raised %d alerts and not %d", len(state.Alerts), r.alerts))
	}
	if counts.Alerts != int64(len(state.Alerts)) {
		problems = append(problems, fmt.Errorf("the store has %d alerts, the server %d", counts.Alerts, len(state.Alerts)))
	}
	return figures, errors.Join(problems...)
}

// missingEvents looks for every event of the feed at every sink. run.started is
// not delivered unless it is asked for.
func missingEvents(ctx context.Context, s *store.Reader, at map[string]map[string]int) (error, error) {
	missing := &findings{what: "events missing at the sinks"}
	const page = 1000
	for after := int64(0); ; {
		events, err := s.Feed(ctx, after, page)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			return missing.err(), nil
		}
		for _, ev := range events {
			after = ev.Pos
			if ev.Type == soar.EventRunStarted || ev.To != "" {
				continue
			}
			for name, have := range at {
				if have[ev.ID] == 0 {
					missing.add("%s (%s) at %s", ev.ID, ev.Type, name)
				}
			}
		}
	}
}

// readArchive counts the events in the file sink by id. Lines that a kill cut
// short are skipped: the event stands in a later line then, which is checked.
func readArchive(path string) (map[string]int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ids := map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var ev struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(lines.Bytes(), &ev) == nil && ev.ID != "" {
			ids[ev.ID]++
		}
	}
	return ids, lines.Err()
}

// readSyslog counts the events in JSON payloads by id.
func readSyslog(messages []string) (map[string]int, error) {
	ids := map[string]int{}
	for _, m := range messages {
		start := strings.IndexByte(m, '{')
		if start < 0 {
			return nil, fmt.Errorf("syslog message without JSON: %.120q", m)
		}
		var ev struct {
			ID string `json:"id"`
		}
		if err := json.NewDecoder(bytes.NewReader([]byte(m[start:]))).Decode(&ev); err != nil {
			return nil, fmt.Errorf("syslog message %.200q: %w", m, err)
		}
		ids[ev.ID]++
	}
	return ids, nil
}

func repeats(ids map[string]int) (n int) {
	for _, times := range ids {
		n += times - 1
	}
	return n
}
