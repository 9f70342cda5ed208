package modeltest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// plan is a sequence: what there is at the start, and what happens then. All of it is
// drawn before it is played, so that what is left of it means the same when something
// is taken out.
type plan struct {
	onDisk   bool          // the real store keeps the journal
	work     time.Duration // how long hosts work on a command, more or less
	settings guard.Settings
	hold     time.Duration // how long steps wait at most
	fleet    int           // the number of hosts that the engine is told; 0: none
	books    [][]book      // sets of playbooks; the first is there at the start
	moves    []move
}

// move is one thing that happens, after a wait.
type move struct {
	wait time.Duration
	what string
	do   func(w *world)
}

// draft draws a plan.
type draft struct {
	*rand.Rand
	*plan
	hosts  []ersim.HostState // of the fleet, as it is at the start
	focus  []ersim.HostState // those that most of it is about
	alerts int
}

// fleetOptions are those of the fleet that every sequence starts with.
func fleetOptions() ersim.Options { return ersim.Options{Seed: 1, Hosts: 9} }

func newPlan(seed uint64, number int, fleet []ersim.HostState) *plan {
	d := &draft{Rand: rand.New(rand.NewPCG(seed, uint64(number))), plan: &plan{onDisk: number%25 == 0}, hosts: fleet}
	d.setUp()
	for range 10 + d.IntN(20) {
		d.moves = append(d.moves, d.move())
	}
	return d.plan
}

func pick[T any](d *draft, list ...T) T { return list[d.IntN(len(list))] }

func (d *draft) chance(percent int) bool { return d.IntN(100) < percent }

func (d *draft) setUp() {
	windows, others := []ersim.HostState{}, []ersim.HostState{}
	for _, h := range d.hosts {
		if h.Platform == "windows" && !protectedNames[h.Name] {
			windows = append(windows, h)
		} else {
			others = append(others, h)
		}
	}
	d.Shuffle(len(windows), func(i, j int) { windows[i], windows[j] = windows[j], windows[i] })
	d.focus = windows[:1+d.IntN(len(windows))]
	if d.chance(50) {
		d.focus = append(d.focus, pick(d, others...))
	}
	d.hold = pick(d, 20*time.Minute, time.Hour, 3*time.Hour)
	d.work = pick(d, time.Second, 5*time.Second, 40*time.Second)
	if d.chance(50) {
		d.fleet = len(d.hosts)
	}
	s := &d.settings
	s.Protected = []guard.Protection{
		{Name: "domain controllers", Match: guard.Match{Tags: []string{"domain-controller"}}},
		{Name: "file servers", Match: guard.Match{Names: []string{"win-file*"}}},
	}
	s.Budgets = []guard.Budget{{
		Name: "reach", Calls: guard.Calls{Actions: destructive}, Hosts: 1 + d.IntN(5), Window: pick(d, 40*time.Minute, 2*time.Hour),
	}}
	if d.chance(30) {
		s.Limits = append(s.Limits, guard.Limit{Calls: guard.Calls{Actions: []string{"host.*"}}, Concurrent: 1 + d.IntN(2)})
	}
	if d.chance(30) {
		s.Limits = append(s.Limits, guard.Limit{Rate: 2 + d.IntN(3), Per: pick(d, time.Minute, 10*time.Minute)})
	}
	if d.chance(25) {
		s.Freezes = []guard.Freeze{{Name: "early shift", Days: []string{"mon-sun"}, From: frozenFrom, To: frozenTo, Timezone: "Etc/UTC"}}
	}
	s.Approval = guard.ApprovalSettings{Expires: pick(d, time.Minute, 15*time.Minute, time.Hour), Count: 1 + d.IntN(2)}
	if d.chance(50) {
		s.Approvers, s.Approval.From = map[string][]string{"leads": {"ann", "ben"}}, []string{"leads"}
	}
	for set := range 1 + d.IntN(3) {
		var books []book
		for n := range 1 + d.IntN(3) {
			books = append(books, d.book(fmt.Sprintf("book-%d-%d", set, n)))
		}
		d.books = append(d.books, books)
	}
}

// The times of the day between which nothing is changed, where there is a freeze.
const (
	frozenFrom = "03:35"
	frozenTo   = "04:05"
)

// destructive are the actions that the budgets are about.
var destructive = []string{"host.contain", "process.kill", "file.delete", "script.run"}

// protectedNames are the hosts on which nothing may be done.
var protectedNames = map[string]bool{"WIN-DC-01": true, "WIN-FILE-01": true}

// book is one playbook.
type book struct {
	name, text string
	mode       soar.Mode
}

// kinds are the rules by which alerts come.
var kinds = []string{"first", "second", "third"}

func (d *draft) book(name string) book {
	b := book{name: name, mode: pick(d, soar.ModeEnforce, soar.ModeEnforce, soar.ModeEnforce, soar.ModeEnforce, soar.ModeApprove, soar.ModeApprove, soar.ModeObserve)}
	var text strings.Builder
	fmt.Fprintf(&text, "playbook: %s\nmode: %s\nmatch:\n  all:\n    - its kind: .alert.rule.name | IN(%q, %q)\n", name, b.mode, pick(d, kinds...), pick(d, kinds...))
	if d.chance(15) {
		text.WriteString("cooldown: {key: .alert.host.identifier, for: 10m}\n")
	}
	text.WriteString("steps:\n")
	contained := "" // the step that contained the host of the alert
	for n := range 1 + d.IntN(4) {
		id := fmt.Sprintf("s%d", n+1)
		if d.chance(10) {
			id += "_trusting"
		}
		contained = d.step(&text, id, contained)
	}
	b.text = text.String()
	return b
}

// step writes a step. It returns the step that contained the host last.
func (d *draft) step(text *strings.Builder, id, contained string) string {
	line := func(format string, args ...any) { fmt.Fprintf(text, "    "+format+"\n", args...) }
	fmt.Fprintf(text, "  - id: %s\n", id)
	host := `"${{ .alert.host.identifier }}"`
	if d.chance(10) {
		host, contained = pick(d, d.hosts...).Identifier, ""
	}
	action := pick(d, "host.contain", "host.contain", "host.contain", "host.release", "host.release", "process.kill", "process.kill", "file.delete",
		"script.run", "defender.scan", "host.tag", "alert.note", "alert.resolve", "approval.ask", "agent.restart")
	line("do: %s", action)
	waits := true
	switch action {
	case "host.contain":
		if d.chance(15) {
			line(`for_each: '["445", "139"]'`)
			line("max_parallel: 2")
			line(`with: {host: %s, local_port: "${{ .item }}"}`, host)
			break
		}
		if d.chance(30) {
			line("with: {host: %s, for: %s}", host, pick(d, "5m", "1h"))
		} else {
			line("with: {host: %s}", host)
		}
		contained = id
	case "host.release":
		if contained != "" && d.chance(50) {
			line("if: .steps.%s.state == \"verified\"", contained)
			line("with: {host: %s, rule: \"${{ .steps.%s.output.rule }}\"}", host, contained)
			break
		}
		line("with: {host: %s}", host)
	case "process.kill":
		line(`with: {host: %s, pid: "${{ .alert.event.pid }}", name: "${{ .alert.event.path }}"}`, host)
	case "file.delete":
		line(`with: {host: %s, path: "${{ .alert.event.path }}"}`, host)
	case "script.run":
		line(`with: {host: %s, kind: powershell, content: "Write-Output $args", params: "${{ .run.id }}"}`, host)
	case "defender.scan", "agent.restart":
		line("with: {host: %s}", host)
	case "host.tag":
		line("with: {host: %s, tag: %s, remove: %t}", host, pick(d, "seen", "domain-controller"), d.chance(30))
	case "alert.note":
		line(`with: {text: "run ${{ .run.id }}, step %s"}`, id)
	case "alert.resolve":
		line("with: {verdict: %s}", pick(d, "true_positive", "false_positive"))
	case "approval.ask":
		line("with: {text: go on, expires: %s}", pick(d, "2m", "20m"))
		waits = false
	}
	if strings.HasSuffix(id, "_trusting") && waits {
		line("verify: false")
	}
	if d.chance(50) {
		line("on_error: continue")
	}
	if waits && d.chance(30) {
		line("wait: %s", pick(d, "0s", "2m", "30m"))
	}
	if waits && d.chance(30) {
		on := "transient"
		if action == "host.tag" || action == "alert.resolve" { // twice is as good as once
			on = "failed"
		}
		line("retry: {attempts: 3, delay: %s, on: %s}", pick(d, "10s", "2m"), on)
	}
	if waits && d.chance(20) {
		line("timeout: %s", pick(d, "90s", "8m"))
	}
	return contained
}

// idles tells whether a host may report a success and do nothing.
func (p *plan) idles() bool {
	for _, m := range p.moves {
		if strings.Contains(m.what, string(ersim.CommandIdle)) {
			return true
		}
	}
	return false
}
