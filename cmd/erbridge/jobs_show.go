package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// jobWithLines is what jobs show prints as JSON.
type jobWithLines struct {
	listedJob
	// Counts is how many hosts are in each state.
	Counts map[string]int      `json:"counts"`
	Lines  []playbooks.JobLine `json:"lines"`
}

func newJobsShow() *cobra.Command {
	var file configFlag
	var out output
	var states []string
	var rows, asCSV bool
	cmd := &cobra.Command{
		Use:   "show JOB",
		Short: "show a job with a line for each host, while it is under way and afterwards",
		Long: `Each host has a line: its state, what was done or why it was not, and how long it
took. What a host that waits is waiting for stands there too. With --output json, lines
have the whole answer of the action.

--rows shows what the hosts of a job of live.query answered, a row in each line. A host
with more rows than fit says so in its line. --csv writes lines or rows for a table
calculation.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			id, err := jobID(given[0])
			if err != nil {
				return err
			}
			for _, state := range states {
				if !slices.Contains(playbooks.LineStates, state) {
					return usagef("--state %q: expected one of %s", state, strings.Join(playbooks.LineStates, ", "))
				}
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			job, err := readJob(cmd.Context(), r, id)
			if err != nil {
				return err
			}
			if len(states) > 0 {
				job.Lines = slices.DeleteFunc(job.Lines, func(l playbooks.JobLine) bool { return !slices.Contains(states, l.State) })
			}
			switch {
			case rows:
				return printRows(cmd, &out, job.Lines, asCSV)
			case asCSV:
				return printCSV(cmd.OutOrStdout(), job.Lines, csvLineColumns)
			case out.format == "jsonl":
				return printList(cmd.Context(), cmd, &out, job.Lines, lineColumns)
			}
			if err := printItem(cmd.Context(), cmd, &out, job, showJob); err != nil {
				return err
			}
			return notePaused(cmd, r)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringArrayVar(&states, "state", nil, "only hosts in this state, such as failed or held")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(playbooks.LineStates, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().BoolVar(&rows, "rows", false, "the rows that the hosts answered with")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "as CSV")
	return cmd
}

// readJob reads a job with the lines of its hosts.
func readJob(ctx context.Context, r *store.Reader, id soar.RunID) (job jobWithLines, err error) {
	if job.Job, err = playbooks.ReadJob(func(prefix string) ([]soar.KV, error) { return r.KV(ctx, prefix) }, id); err != nil {
		return job, err
	}
	runs, err := runsOfJob(ctx, r, &job.Job)
	if err != nil {
		return job, err
	}
	if len(runs) == 0 {
		return job, fmt.Errorf("the runs of job %s were removed by retention: %w", id, soar.ErrNotFound)
	}
	job.State, job.Counts, job.Lines = stateOfJob(runs), map[string]int{}, []playbooks.JobLine{}
	for _, run := range runs {
		entries, err := r.Entries(ctx, run.ID)
		if err != nil {
			return job, err
		}
		lines, err := playbooks.JobLines(run, entries)
		if err != nil {
			return job, err
		}
		job.Lines = append(job.Lines, lines...)
	}
	for _, l := range job.Lines {
		job.Counts[l.State]++
	}
	return job, nil
}

var lineColumns = []column[playbooks.JobLine]{
	{"host", lineHost},
	{"state", func(l playbooks.JobLine) string { return l.State }},
	{"took", lineTook},
	{"words", func(l playbooks.JobLine) string { return short(l.Words, 120) }},
}

var csvLineColumns = []column[playbooks.JobLine]{
	{"host", func(l playbooks.JobLine) string { return l.Host }},
	{"name", func(l playbooks.JobLine) string { return l.Name }},
	{"state", func(l playbooks.JobLine) string { return l.State }},
	{"words", func(l playbooks.JobLine) string { return l.Words }},
	{"started_at", func(l playbooks.JobLine) string { return stamp(l.StartedAt) }},
	{"ended_at", func(l playbooks.JobLine) string { return stamp(l.EndedAt) }},
	{"run", func(l playbooks.JobLine) string { return l.Run.String() }},
	{"step", func(l playbooks.JobLine) string { return l.Step }},
	{"command", func(l playbooks.JobLine) string { return l.Ref }},
}

// lineHost is the host as people call it.
func lineHost(l playbooks.JobLine) string {
	if l.Name == "" || l.Name == l.Host {
		return l.Host
	}
	return l.Name + " (" + l.Host + ")"
}

// lineTook is how long the call of a host took.
func lineTook(l playbooks.JobLine) string {
	if l.StartedAt.IsZero() || l.EndedAt.IsZero() {
		return ""
	}
	return l.EndedAt.Sub(l.StartedAt).Round(time.Millisecond).String()
}

// countLines is how many hosts are in each state, in words.
func countLines(lines []playbooks.JobLine) string {
	counts := map[string]int{}
	for _, l := range lines {
		counts[l.State]++
	}
	return countWords(counts)
}

func countWords(counts map[string]int) string {
	var words []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %s", counts[state], state))
	}
	return strings.Join(words, ", ")
}

func showJob(w io.Writer, job jobWithLines) error {
	err := printFields(w, []field{
		{"job", job.ID.String()},
		{"action", job.Action},
		{"state", job.State},
		{"hosts", fmt.Sprintf("%d: %s", job.Hosts, countWords(job.Counts))},
		{"max parallel", fmt.Sprint(job.AtOnce)},
		{"started", stamp(job.At) + " by " + job.By},
		{"reason", job.Reason},
	})
	if err != nil || len(job.Lines) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return printTable(w, job.Lines, lineColumns)
}

// printRows prints what the hosts answered. The columns are those of all rows.
func printRows(cmd *cobra.Command, out *output, lines []playbooks.JobLine, asCSV bool) error {
	var rows []map[string]any
	names := map[string]bool{}
	for i := range lines {
		for _, row := range playbooks.JobRows(&lines[i]) {
			rows = append(rows, row)
			for name := range row {
				names[name] = true
			}
		}
	}
	columns := []column[map[string]any]{}
	add := func(name string) {
		delete(names, name)
		columns = append(columns, column[map[string]any]{name, func(row map[string]any) string {
			if row[name] == nil {
				return ""
			}
			return fmt.Sprint(row[name])
		}})
	}
	add("job_host_name")
	add("job_host")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		add(name)
	}
	if asCSV {
		return printCSV(cmd.OutOrStdout(), rows, columns)
	}
	return printList(cmd.Context(), cmd, out, rows, columns)
}

// printCSV writes a table as CSV (RFC 4180). What a table calculation would take for a
// formula is made a text: the values come from hosts.
func printCSV[T any](w io.Writer, items []T, columns []column[T]) error {
	out := csv.NewWriter(w)
	record := make([]string, len(columns))
	for i, c := range columns {
		record[i] = c.title
	}
	if err := out.Write(record); err != nil {
		return err
	}
	for _, item := range items {
		for i, c := range columns {
			record[i] = c.text(item)
			if record[i] != "" && strings.ContainsRune("=+-@\t\r", rune(record[i][0])) {
				record[i] = "'" + record[i]
			}
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
