package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// caseEvery is how many alerts there are to one that is worked on as a case: with actions
// of every kind, and a question to people.
const caseEvery, caseRest = 60, 31

// caseBook is about alerts that stop-every-second leaves alone. What it does is told apart
// at the server by the number of the alert.
const caseBook = `playbook: work-on-a-case
match:
  all:
    - it is a case: (.alert.id | tonumber) % 60 == 31
    - it is a Windows host: .alert.host.platform == "windows"
steps:
  - id: contain
    do: host.contain
    with: {host: "${{ .alert.host.identifier }}"}
  - id: tag
    do: host.tag
    with: {host: "${{ .alert.host.identifier }}", tag: "case-${{ .alert.id }}"}
  - parallel:
      - id: scan
        do: defender.scan
        with: {host: "${{ .alert.host.identifier }}", kind: custom, path: "C:\\case\\${{ .alert.id }}"}
      - id: carve
        do: carve.file
        with: {host: "${{ .alert.host.identifier }}", path: "${{ .alert.event.path }}"}
        on_error: continue
  - id: ask
    do: approval.ask
    with: {text: "Let ${{ .alert.host.name }} back in?", expires: 1h}
  - id: release
    if: .steps.ask.granted and .steps.contain.output.rule != null
    do: host.release
    with: {host: "${{ .alert.host.identifier }}", rule: "${{ .steps.contain.output.rule }}"}
  - id: note
    do: alert.note
    with: {text: "let back in by ${{ .steps.ask.output.by }}"}
`

// caseSteps are its steps, and what the server counts of them. A host is contained once
// for all that want it at the same moment, and let back in as often as it was contained.
var caseSteps = map[string]string{
	"contain": ersim.KindContain, "tag": "", "scan": "defender/scan", "carve": "", "ask": "", "release": ersim.KindRelease, "note": "",
}

// othersCarve is how a carve ends whose answer was lost when the server shows another one
// of that host in its place.
const othersCarve = "the carve that was found on the server holds"

// answer agrees to what people are asked, as one of them would.
func (r *rig) answer(ctx context.Context, s *store.Reader) error {
	list, err := guard.ReadApprovals(func(prefix string) ([]soar.KV, error) { return s.KV(ctx, prefix) }, time.Now())
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].State != soar.ApprovalWaiting {
			continue
		}
		out, err := exec.CommandContext(ctx, r.erbridge, "approvals", "approve", list[i].ID, "--by", "ann", "--reason", "seen",
			"--config", filepath.Join(r.dir, "erbridge.yaml")).CombinedOutput()
		if err != nil {
			// The daemon may be starting; what is still open is asked about again.
			return fmt.Errorf("approve %s: %w: %s", list[i].ID, err, out)
		}
	}
	return nil
}

// compareCases sees to it that every case is worked on to its end, and that the server has
// each of its actions as often as it is said to be done.
func compareCases(ctx context.Context, s *store.Reader, state *ersim.State) (figures string, problems, err error) {
	windows := map[string]bool{}
	for _, h := range state.Hosts {
		windows[h.Identifier] = h.Platform == "windows"
	}
	bad := &findings{what: "cases that went wrong"}
	cases, done := 0, map[string]int{}
	for _, a := range state.Alerts {
		if a.ID%caseEvery != caseRest || !windows[a.Host] {
			continue
		}
		cases++
		ref := fmt.Sprintf("er-%d", a.ID)
		runs, err := s.Runs(ctx, store.RunFilter{Alert: ref, Limit: 10})
		if err != nil {
			return "", nil, err
		}
		if len(runs) != 1 || runs[0].State != soar.RunDone {
			bad.add("%s has %d runs: %+v", ref, len(runs), runs)
			continue
		}
		entries, err := s.Entries(ctx, runs[0].ID)
		if err != nil {
			return "", nil, err
		}
		ended := map[string]int{}
		for _, e := range entries {
			var result playbooks.Result
			if _, wanted := caseSteps[e.Step]; !wanted || e.Kind != soar.EntryResult || json.Unmarshal(e.Body, &result) != nil {
				continue
			}
			ended[e.Step]++
			switch state := result.State; {
			case state == soar.StepVerified || state == soar.StepExecuted:
				done[e.Step]++
			case !state.OK() && !strings.HasPrefix(result.Error, othersCarve):
				bad.add("%s: step %s is %s: %s", ref, e.Step, state, result.Error)
			}
		}
		for step := range caseSteps {
			if ended[step] != 1 {
				bad.add("%s: step %s has ended %d times", ref, step, ended[step])
			}
		}
	}
	kinds := map[string]int{}
	for _, c := range state.Commands {
		kinds[c.Kind]++
	}
	for step, kind := range caseSteps {
		if kind != "" && (kinds[kind] != done[step] || done[step] == 0) {
			bad.add("%d steps %s are done, and the server has %d commands %s", done[step], step, kinds[kind], kind)
		}
	}
	if carved := len(state.Carves); carved > cases || carved < done["carve"] {
		bad.add("%d carves for %d cases, %d of which have one", carved, cases, done["carve"])
	}
	return fmt.Sprintf("  cases                  %d, with steps done: %v\n", cases, done), bad.err(), nil
}
