package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// guardForJobs lets jobs act on the whole fleet but its domain controllers, and on no more
// than 20 hosts at the same time.
const guardForJobs = `
guard:
  budgets: [{name: destructive, hosts: 1000, share: 100%}]
  protected: [{name: domain controllers, match: {tags: [domain-controller]}}]
  limits: [{name: jobs, concurrent: 20}]
`

// hostile is a script whose text is neither YAML nor an expression, and must come
// through as it is.
const hostile = "echo \"it's ${{ .alert }} and $${{ 1 }}: {a: [b]}\" # 'x'\n\techo \u00e4\u2028\u0085done\r\n  exit 0\n- &anchor *alias |\n"

// jobLines are the lines of all hosts of a job.
func jobLines(t *testing.T, st *store.Store, job playbooks.Job) (lines []playbooks.JobLine, over bool) {
	t.Helper()
	over = true
	for _, id := range job.Runs {
		run, err := st.GetRun(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := st.Entries(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		part, err := playbooks.JobLines(run, entries)
		if err != nil {
			t.Fatal(err)
		}
		lines, over = append(lines, part...), over && run.State.Ended()
	}
	return lines, over
}

// awaitJob waits until a job is as it should be.
func awaitJob(t *testing.T, st *store.Store, job playbooks.Job, yes func(lines []playbooks.JobLine, over bool) bool) []playbooks.JobLine {
	t.Helper()
	for {
		changed := st.Changed(soar.SignalRuns)
		lines, over := jobLines(t, st, job)
		if yes(lines, over) {
			return lines
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal(context.Cause(t.Context()))
		}
	}
}

// atOnce is how many commands were under way at the same moment.
func atOnce(commands []ersim.CommandRecord) (most int) {
	type step struct {
		at time.Time
		by int
	}
	var steps []step
	for _, c := range commands {
		steps = append(steps, step{c.ReceivedAt, 1})
		if !c.EndedAt.IsZero() {
			steps = append(steps, step{c.EndedAt, -1})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Or(a.at.Compare(b.at), a.by-b.by) })
	n := 0
	for _, s := range steps {
		n += s.by
		most = max(most, n)
	}
	return most
}

// A job over a fleet of which some hosts are offline, some fail and some are protected:
// each has a line with its own reason, no more than the bound are under way at the same
// time, and what is stopped in the middle goes on where it was and sends nothing twice.
func TestJobOverTheFleet(t *testing.T) {
	const hosts = 300
	s := newSiteOf(t, ersim.Options{Hosts: hosts})
	s.configure(guardForJobs)
	fleet := s.sim.Hosts()
	var offline, failing []string
	protected := map[string]bool{}
	for i, h := range fleet {
		switch {
		case slices.Contains(h.Tags, "domain-controller"):
			protected[h.Identifier] = true
		case i%25 == 1:
			offline = append(offline, h.Identifier)
			s.sim.SetOnline(h.Identifier, false)
		case i%25 == 2:
			failing = append(failing, h.Identifier)
			s.sim.Inject(ersim.Fault{Kind: ersim.CommandFails, Host: h.Identifier, Message: "no such interpreter"})
		}
	}
	d, stop := s.start()
	c, release := s.control()
	job, err := c.StartJob(t.Context(), JobStart{
		Action: "script.run", With: map[string]any{"kind": "shell", "content": hostile}, Choice: HostChoice{All: true},
		AtOnce: 15, By: "ann", Reason: "to see", Enforce: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if job.Hosts != hosts || len(job.Runs) != hosts/50 {
		t.Fatalf("the job: %+v", job)
	}
	// Stopped twice in the middle of it.
	for _, enough := range []int{40, 120} {
		awaitJob(t, d.Store(), job, func(lines []playbooks.JobLine, _ bool) bool {
			return ended(lines, string(soar.StepExecuted)) >= enough
		})
		release()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		d, stop = s.start()
		c, release = s.control()
	}
	done := hosts - len(protected) - len(offline)
	lines := awaitJob(t, d.Store(), job, func(lines []playbooks.JobLine, _ bool) bool {
		over := 0
		for i := range lines {
			if lines[i].Over() {
				over++
			}
		}
		return over >= done+len(protected) // however they ended, which is looked at below
	})
	for i := range lines {
		l := &lines[i]
		want, words := string(soar.StepExecuted), "script"
		switch {
		case protected[l.Host]:
			want, words = string(soar.StepRefused), "domain controllers"
		case slices.Contains(offline, l.Host):
			want, words = "held", "offline"
		case slices.Contains(failing, l.Host):
			want, words = string(soar.StepFailed), "no such interpreter"
		}
		if l.State != want || !strings.Contains(l.Words, words) {
			t.Errorf("%s: %s: %s; want %s: %s", l.Name, l.State, l.Words, want, words)
		}
		if l.Over() && want == string(soar.StepExecuted) && (l.StartedAt.IsZero() || l.EndedAt.Before(l.StartedAt) || l.Output == nil) {
			t.Errorf("%s: %+v", l.Name, l)
		}
	}
	// Hosts that come back go on.
	for _, id := range offline[1:] {
		s.sim.SetOnline(id, true)
	}
	n, err := c.CancelJob(t.Context(), JobCancel{Job: job.ID, By: "ben", Reason: "enough"})
	if err != nil || n == 0 {
		t.Errorf("cancelled %d runs: %v", n, err)
	}
	lines = awaitJob(t, d.Store(), job, func(_ []playbooks.JobLine, over bool) bool { return over })
	for _, l := range lines {
		if l.Host == offline[0] && (l.State != string(soar.StepCancelled) || !strings.Contains(l.Words, "cancelled by "+SignedHere("ben")+": enough")) {
			t.Errorf("called off: %+v", l)
		}
		if !l.Over() {
			t.Errorf("not over: %+v", l)
		}
	}
	if got := ended(lines, string(soar.StepExecuted)); got < done-len(failing) {
		t.Errorf("results were lost: %d of %d hosts executed", got, done-len(failing))
	}
	if _, err := c.CancelJob(t.Context(), JobCancel{Job: job.ID, By: "ben", Reason: "again"}); !errors.Is(err, playbooks.ErrNotCancelled) {
		t.Errorf("cancelled again: %v", err)
	}
	release()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	commands := s.sim.Commands()
	if most := atOnce(commands); most > 15 || most < 2 {
		t.Errorf("%d commands at the same time, want at most 15", most)
	}
	for _, cmd := range commands {
		if cmd.Received != 1 || protected[cmd.Host] {
			t.Errorf("%s got the command %d times", cmd.HostName, cmd.Received)
		}
		if cmd.Parameters["content"] != hostile {
			t.Fatalf("the script arrived as %q", cmd.Parameters)
		}
	}
}

// ended counts the lines in a state.
func ended(lines []playbooks.JobLine, state string) (n int) {
	for _, l := range lines {
		if l.State == state {
			n++
		}
	}
	return n
}

// A rehearsal tells of each host what would become of it, a budget that is too small
// included, and sends nothing.
func TestRehearseJob(t *testing.T) {
	s := newSiteOf(t, ersim.Options{Hosts: 40})
	s.configure("guard: {protected: [{name: domain controllers, match: {tags: [domain-controller]}}]}\n")
	s.sim.SetOnline("DB-01", false) // the first by name
	d, _ := s.start()
	s.until(func() bool { return d.guard.Budgets(time.Now())[0].Fleet > 0 })
	c, release := s.control()
	defer release()
	order := JobStart{Action: "script.run", With: map[string]any{"kind": "shell", "content": "echo"}, Choice: HostChoice{All: true}, By: "ann", Reason: "to see"}
	lines, err := c.RehearseJob(t.Context(), order)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, l := range lines {
		words := ""
		for _, one := range []string{"domain controllers", "offline", `budget "destructive"`, "would be sent"} {
			if strings.Contains(l.Words, one) {
				words = one
			}
		}
		counts[l.State+": "+words]++
	}
	// 5% of the fleet is less than at_least.
	if counts["sent: would be sent"] != 3 || counts["held: offline"] != 1 || counts["refused: domain controllers"] != 5 || counts[`refused: budget "destructive"`] != 31 || len(lines) != 40 || len(counts) != 4 {
		t.Errorf("rehearsed: %v", counts)
	}
	if n := len(s.sim.Commands()); n != 0 {
		t.Errorf("%d commands were sent", n)
	}
	if b := d.guard.Budgets(time.Now())[0]; b.Used != 0 || b.Latched != nil {
		t.Errorf("the budget after the rehearsal: %+v", b)
	}
	if _, err := c.StartJob(t.Context(), order); !errors.Is(err, playbooks.ErrNotAgreed) {
		t.Errorf("nobody agreed: %v", err)
	}

	// What only reads waits for a limit and for the kill switch, too.
	query := JobStart{Action: "live.query", With: map[string]any{"sql": "select name from processes"}, Choice: HostChoice{All: true}, By: "ann", Reason: "to see"}
	for _, want := range []string{"sent", "held"} {
		lines, err := c.RehearseJob(t.Context(), query)
		if err != nil || ended(lines, want) != 40 {
			t.Errorf("rehearsed a query: %+v, want all %s: %v", lines[0], want, err)
		}
		if _, err := c.Pause(t.Context(), PauseOrder{By: "ann", Reason: "to see"}); err != nil {
			t.Fatal(err)
		}
	}
}

// A query over many hosts has the rows of each, and waits its turn like everything else.
func TestJobOfQueries(t *testing.T) {
	s := newSiteOf(t, ersim.Options{Hosts: 30})
	s.configure("")
	d, _ := s.start()
	c, release := s.control()
	defer release()
	away := s.sim.Hosts()[3]
	s.sim.SetOnline(away.Identifier, false)
	job, err := c.StartJob(t.Context(), JobStart{
		Action: "live.query", With: map[string]any{"sql": "select name, pid from processes"}, Choice: HostChoice{Platforms: []string{"windows"}},
		AtOnce: 4, By: "ann", Reason: "to see",
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := awaitJob(t, d.Store(), job, func(_ []playbooks.JobLine, over bool) bool { return over })
	for _, l := range lines {
		switch {
		case l.Host == away.Identifier:
			if l.State != string(soar.StepFailed) || !strings.Contains(l.Words, "offline") {
				t.Errorf("offline: %+v", l)
			}
		case l.State != string(soar.StepExecuted) || len(playbooks.JobRows(&l)) == 0:
			t.Errorf("%+v", l)
		}
	}
	if len(lines) != 20 || job.Hosts != 20 {
		t.Errorf("%d lines of a job over %d hosts", len(lines), job.Hosts)
	}
	jobs, err := playbooks.ReadJobs(func(prefix string) ([]soar.KV, error) { return d.Store().KV(t.Context(), prefix) })
	if err != nil || len(jobs) != 1 || jobs[0].ID != job.ID || jobs[0].With["sql"] == nil {
		t.Errorf("jobs: %+v, %v", jobs, err)
	}
}

// What cannot be done is refused before anything is started.
func TestJobsThatAreRefused(t *testing.T) {
	s := newSiteOf(t, ersim.Options{Hosts: 12})
	s.sim.Rename(s.sim.Hosts()[1].Identifier, s.sim.Hosts()[0].Name)
	s.configure("")
	d, stop := s.start()
	c, release := s.control()
	good := func() JobStart {
		return JobStart{
			Action: "host.tag", With: map[string]any{"tag": "seen"}, Choice: HostChoice{Names: []string{s.sim.Hosts()[2].Name}}, By: "ann", Reason: "to see", Enforce: true,
		}
	}
	for _, tt := range []struct {
		name   string
		change func(j *JobStart)
		is     error
		words  string
	}{
		{"no such action", func(j *JobStart) { j.Action = "host.tga" }, soar.ErrNotFound, `did you mean "host.tag"`},
		{"no host", func(j *JobStart) { j.Action = "http.request" }, playbooks.ErrBadJob, "acts on no host"},
		{"asks people", func(j *JobStart) { j.Action = "approval.ask" }, playbooks.ErrBadJob, "asks people"},
		{"chooses hosts", func(j *JobStart) { j.With["host"] = "x" }, playbooks.ErrBadJob, "the argument host chooses hosts"},
		{"more hosts than said", func(j *JobStart) {
			j.Action, j.With = "live.query", map[string]any{"sql": "select 1", "all_hosts": true}
		}, playbooks.ErrBadJob, "the argument all_hosts chooses hosts"},
		{"bad argument", func(j *JobStart) { j.With["tag"] = "no spaces, please" }, playbooks.ErrBadJob, "tag"},
		{"unknown argument", func(j *JobStart) { j.With["tga"] = "x" }, playbooks.ErrBadJob, `unknown argument "tga" (did you mean "tag"?); host.tag takes for, remove, tag`},
		{"argument like none", func(j *JobStart) { j.With["severity"] = "x" }, playbooks.ErrBadJob, `unknown argument "severity"; host.tag takes for, remove, tag`},
		{"bad argument, and nobody agreed", func(j *JobStart) { j.With["tga"], j.Enforce = "x", false }, playbooks.ErrBadJob, "tga"},
		{"waits for less than nothing", func(j *JobStart) { j.Wait = -time.Second }, playbooks.ErrBadJob, "wait is -1s"},
		{"ends before it begins", func(j *JobStart) { j.Timeout = -time.Second }, playbooks.ErrBadJob, "timeout is -1s"},
		{"unknown hosts", func(j *JobStart) { j.Choice.Names = append(j.Choice.Names, "PC-1", "PC-2") }, soar.ErrNotFound, `no host "PC-1", "PC-2"; nothing was started`},
		{"two of a name", func(j *JobStart) { j.Choice.Names = []string{s.sim.Hosts()[0].Name} }, playbooks.ErrBadJob, "name them by identifier"},
		{"no hosts", func(j *JobStart) { j.Choice = HostChoice{} }, playbooks.ErrBadJob, "names no hosts"},
		{"two ways", func(j *JobStart) { j.Choice.All = true }, playbooks.ErrBadJob, "in one way"},
		{"no such tag", func(j *JobStart) { j.Choice = HostChoice{Tags: []string{"nobody"}} }, playbooks.ErrBadJob, "none of the 12 hosts"},
		{"the whole fleet", func(j *JobStart) { j.Choice = HostChoice{Platforms: []string{"windows", "linux", "darwin"}} }, playbooks.ErrBadJob, "every one of the 12 hosts"},
		{"nobody", func(j *JobStart) { j.By = "" }, playbooks.ErrBadJob, "says so by name"},
		{"no reason", func(j *JobStart) { j.Reason = "" }, playbooks.ErrBadJob, "and why"},
		{"too many at once", func(j *JobStart) { j.AtOnce = 5000 }, playbooks.ErrBadJob, "from 1 to 1000"},
		{"wait of a read", func(j *JobStart) {
			j.Action, j.With, j.Wait = "host.get", nil, time.Hour
		}, playbooks.ErrBadJob, "only reads"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := good()
			tt.change(&j)
			job, err := c.StartJob(t.Context(), j)
			if !errors.Is(err, tt.is) || !strings.Contains(fmt.Sprint(err), tt.words) || job.ID != 0 {
				t.Errorf("job %s, %v", job.ID, err)
			}
		})
	}
	large := good()
	large.With["tag"] = strings.Repeat("x", maxControlBytes)
	if _, err := c.StartJob(t.Context(), large); err == nil || !strings.Contains(err.Error(), "make the arguments shorter") {
		t.Errorf("more than the socket takes: %v", err)
	}
	runs, err := d.Store().Runs(t.Context(), store.RunFilter{Limit: 10})
	if err != nil || len(runs) != 0 {
		t.Errorf("%d runs began: %v", len(runs), err)
	}
	job, err := c.StartJob(t.Context(), good())
	if err != nil {
		t.Fatal(err)
	}
	lines := awaitJob(t, d.Store(), job, func(_ []playbooks.JobLine, over bool) bool { return over })
	if len(lines) != 1 || lines[0].State != string(soar.StepVerified) {
		t.Errorf("%+v", lines)
	}
	release()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, release = s.control()
	defer release()
	if _, err := c.StartJob(t.Context(), good()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a daemon: %v", err)
	}
	if _, err := c.CancelJob(t.Context(), JobCancel{Job: 1, By: "ann", Reason: "x"}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("a job that is not there: %v", err)
	}
}
