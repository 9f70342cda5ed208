package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

func newJobs() *cobra.Command {
	return group("jobs", "do an action on many hosts, and see what became of each", newJobsStart(), newJobsList(), newJobsShow(), newJobsCancel(), newJobsUndo())
}

func newJobsStart() *cobra.Command {
	var file configFlag
	var out output
	var start daemon.JobStart
	var with, withFiles []string
	var hostsFile string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "start ACTION (--host HOST | --hosts-file FILE | --tag TAG | --platform PLATFORM | --all) --reason TEXT",
		Short: "do an action on many hosts, in the running erbridge",
		Long: `Hosts are chosen once, when the job starts: by name, identifier or number with
--host and --hosts-file, by --tag and --platform (with both, both must hold), or all of
them with --all. When one that is named is not there, nothing is started.

The guard is asked for each host, as for any step of a playbook: protected hosts,
budgets, freezes and the kill switch hold for jobs too. --dry-run asks it without
sending anything, and tells what would become of each host. No more than --max-parallel
hosts are under way at the same time, and no more than the limit called jobs allows for
all jobs together; the others wait for their turn.

A job goes on after a restart where it was. erbridge jobs show tells how it goes.`,
		Example: `  erbridge jobs start live.query --platform windows --with "sql=select name, version from programs" --reason "inventory"
  erbridge jobs start defender.scan --tag finance --with kind=quick --reason "case 4711" --dry-run
  erbridge jobs start script.run --hosts-file hosts.txt --with kind=powershell --with-file content=collect.ps1 --max-parallel 10 --reason "case 4711"`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if err := out.check(); err != nil {
				return err
			}
			start.Action = given[0]
			if start.With, err = givenArguments(with); err != nil {
				return err
			}
			if err := argumentsFromFiles(start.With, withFiles); err != nil {
				return err
			}
			if hostsFile != "" {
				names, err := readHostsFile(hostsFile, cmd.InOrStdin())
				if err != nil {
					return err
				}
				start.Choice.Names = append(start.Choice.Names, names...)
			}
			if start.Reason == "" {
				return usagef("--reason is needed: it is kept with the job")
			}
			if start.By, err = whoSays(start.By); err != nil {
				return err
			}
			if dryRun {
				return rehearseJob(cmd, &file, &out, start)
			}
			var job playbooks.Job
			err = file.control(cmd.Context(), func(c daemon.Control) (err error) {
				job, err = c.StartJob(cmd.Context(), start)
				if !errors.Is(err, playbooks.ErrNotAgreed) {
					return err
				}
				if err := agreeToJob(cmd.InOrStdin(), cmd.ErrOrStderr(), err); err != nil {
					return err
				}
				start.Enforce = true
				job, err = c.StartJob(cmd.Context(), start)
				return err
			})
			if err != nil {
				return fmt.Errorf("jobs start: %w", err)
			}
			return printItem(cmd.Context(), cmd, &out, job, func(w io.Writer, job playbooks.Job) error {
				_, err := fmt.Fprintf(w, "job %s has begun: %s on %d hosts, %d at the same time; erbridge jobs show %s tells how it goes\n",
					job.ID, clean(job.Action), job.Hosts, job.AtOnce, job.ID)
				return err
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&start.Choice.Names, "host", nil, "a host, by name, identifier or number")
	f.StringVar(&hostsFile, "hosts-file", "", "a file with a host in each line, - for the standard input; what follows a # is left out")
	f.StringArrayVar(&start.Choice.Tags, "tag", nil, "hosts with this tag, or with one of several")
	f.StringArrayVar(&start.Choice.Platforms, "platform", nil, "hosts of this platform: windows, darwin, linux or a distribution")
	f.BoolVar(&start.Choice.All, "all", false, "every host of the server")
	f.StringArrayVar(&with, "with", nil, "an argument of the action, as name=value; a value that is JSON keeps its type")
	f.StringArrayVar(&withFiles, "with-file", nil, "an argument whose value is the text of a file, as name=FILE")
	f.IntVar(&start.AtOnce, "max-parallel", playbooks.DefaultAtOnce, "on how many hosts it is under way at the same time")
	f.DurationVar(&start.Wait, "wait", 0, "how long a host may wait for its turn and to come online; default is limits.hold. For actions with an effect")
	f.DurationVar(&start.Timeout, "timeout", 0, "how long the action may take on one host; default is that of the action")
	f.StringVar(&start.Reason, "reason", "", "why")
	f.StringVar(&start.By, "by", "", "who starts it; default is your user name")
	f.BoolVar(&dryRun, "dry-run", false, "only tell what would become of each host")
	f.BoolVarP(&start.Enforce, "yes", "y", false, "do not ask before a job that may change something")
	_ = cmd.MarkFlagFilename("hosts-file")
	return cmd
}

// rehearseJob tells what would become of each host.
func rehearseJob(cmd *cobra.Command, file *configFlag, out *output, start daemon.JobStart) error {
	var lines []playbooks.JobLine
	err := file.control(cmd.Context(), func(c daemon.Control) (err error) {
		lines, err = c.RehearseJob(cmd.Context(), start)
		return err
	})
	if err != nil {
		return fmt.Errorf("jobs start: %w", err)
	}
	if err := printList(cmd.Context(), cmd, out, lines, []column[playbooks.JobLine]{
		{"host", lineHost},
		{"would be", func(l playbooks.JobLine) string { return l.State }},
		{"why", func(l playbooks.JobLine) string { return short(l.Words, 160) }},
	}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s on %d hosts: %s; nothing was sent\n", clean(start.Action), len(lines), countLines(lines))
	return err
}

// agreeToJob asks a person before a job that may change something. why says what it is.
func agreeToJob(in io.Reader, out io.Writer, why error) error {
	fmt.Fprintf(out, "%s. Start it? [y/N] ", clean(why.Error()))
	return answeredYes(in)
}

// argumentsFromFiles reads name=FILE.
func argumentsFromFiles(with map[string]any, list []string) error {
	for _, one := range list {
		name, path, found := strings.Cut(one, "=")
		if !found || name == "" {
			return usagef("--with-file %q: expected name=FILE", one)
		}
		if _, twice := with[name]; twice {
			return usagef("the argument %s is given twice", name)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return usagef("--with-file %s: %v", name, err)
		}
		with[name] = string(text)
	}
	return nil
}

// readHostsFile reads a host of each line.
func readHostsFile(path string, stdin io.Reader) (names []string, err error) {
	from := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usagef("--hosts-file: %v", err)
		}
		defer f.Close()
		from = f
	}
	lines := bufio.NewScanner(io.LimitReader(from, maxHostsFile))
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), "#")
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, usagef("--hosts-file: %v", lines.Err())
	case len(names) == 0:
		return nil, usagef("--hosts-file: there is no host in it")
	case len(names) > playbooks.MaxJobHosts:
		return nil, usagef("--hosts-file: %d hosts, the limit of one job is %d", len(names), playbooks.MaxJobHosts)
	}
	return names, nil
}

// maxHostsFile is more than the names of a job's hosts take.
const maxHostsFile = 16 << 20

// listedJob is what jobs list prints as JSON.
type listedJob struct {
	playbooks.Job
	// State is running until all hosts are done with, unknown when a person has to settle
	// a run, else done, or cancelled when a part of it was called off.
	State string `json:"state"`
}

var jobColumns = []column[listedJob]{
	{"job", func(j listedJob) string { return j.ID.String() }},
	{"started", func(j listedJob) string { return stamp(j.At) }},
	{"state", func(j listedJob) string { return j.State }},
	{"action", func(j listedJob) string { return j.Action }},
	{"hosts", func(j listedJob) string { return fmt.Sprint(j.Hosts) }},
	{"by", func(j listedJob) string { return j.By }},
	{"reason", func(j listedJob) string { return short(j.Reason, 60) }},
}

func newJobsList() *cobra.Command {
	var file configFlag
	var out output
	limit := 0
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list jobs, newest first",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			jobs, err := playbooks.ReadJobs(func(prefix string) ([]soar.KV, error) { return r.KV(cmd.Context(), prefix) })
			if err != nil {
				return err
			}
			var listed []listedJob
			for _, job := range jobs[:min(limit, len(jobs))] {
				runs, err := runsOfJob(cmd.Context(), r, &job)
				if err != nil {
					return err
				}
				if len(runs) > 0 { // else retention took them
					listed = append(listed, listedJob{job, stateOfJob(runs)})
				}
			}
			return printList(cmd.Context(), cmd, &out, listed, jobColumns)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	limitFlag(cmd, &limit)
	return cmd
}

// runsOfJob reads the runs of a job that are still there.
func runsOfJob(ctx context.Context, r *store.Reader, job *playbooks.Job) (runs []soar.Run, err error) {
	for _, id := range job.Runs {
		run, err := r.GetRun(ctx, id)
		switch {
		case errors.Is(err, soar.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// stateOfJob is how a job is doing, by its runs.
func stateOfJob(runs []soar.Run) string {
	has := map[soar.RunState]bool{}
	for _, run := range runs {
		has[run.State] = true
	}
	switch {
	case has[soar.RunUnknown]:
		return string(soar.RunUnknown)
	case has[soar.RunRunning] || has[soar.RunWaiting]:
		return string(soar.RunRunning)
	case has[soar.RunCancelled]:
		return string(soar.RunCancelled)
	case has[soar.RunFailed]:
		return string(soar.RunFailed)
	}
	return string(soar.RunDone)
}

func newJobsCancel() *cobra.Command {
	var file configFlag
	var c daemon.JobCancel
	cmd := &cobra.Command{
		Use:   "cancel JOB --reason TEXT",
		Short: "call off what is left of a job",
		Long: `Hosts whose call was not sent yet are left alone. What was sent already goes to
its end and is recorded, and what is done stays done: erbridge jobs undo takes it
back.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if c.Job, err = jobID(given[0]); err != nil {
				return err
			}
			if c.Reason == "" {
				return usagef("--reason is needed: it is kept in the journals of the runs")
			}
			if c.By, err = whoSays(c.By); err != nil {
				return err
			}
			runs := 0
			err = file.control(cmd.Context(), func(to daemon.Control) error {
				runs, err = to.CancelJob(cmd.Context(), c)
				return err
			})
			if err != nil {
				return fmt.Errorf("jobs cancel: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "cancelled: job %s (%d of its runs); what was sent already goes to its end\n", c.Job, runs)
			return err
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&c.Reason, "reason", "", "why")
	byFlag(cmd, &c.By)
	return cmd
}

// jobID reads the id of a job, which looks like that of a run.
func jobID(text string) (soar.RunID, error) {
	id, err := soar.ParseRunID(text)
	if err != nil {
		return 0, usagef("job id %q: expected 13 characters, as erbridge jobs list shows them", text)
	}
	return id, nil
}
