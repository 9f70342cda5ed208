package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// backtest are the flags of playbook backtest.
type backtest struct {
	file     configFlag
	since    string
	baseline string
	format   string
	reads    bool
	listed   int
}

func newPlaybookBacktest() *cobra.Command {
	var b backtest
	cmd := &cobra.Command{
		Use:   "backtest [PLAYBOOK]",
		Short: "see what playbooks would have made of the alerts in the store",
		Long: `backtest lets the engine evaluate the alerts of the store once more, each at the time
at which it came in, and counts what would have been done. Nothing is done: no action
is called, and nothing is written. It works beside a running daemon.

PLAYBOOK is a file or a folder, or the name of a playbook of the configuration or the
library; without it, all playbooks of the configuration are looked at.

What only a look-up can tell is shown as unknown: enrichment, the record of the host,
and what depends on the result of a step. --allow-reads looks up enrichment and host
records, as they are now.

--baseline compares with the playbooks of a commit (git:REF), with those of a file or
folder, or with what the daemon decided when the alerts came in (live).`,
		Example: `  erbridge playbook backtest kill-miner --since 30d --baseline live
  erbridge playbook backtest playbooks/kill-miner.yaml --baseline git:origin/main --output json`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if b.format != "human" && b.format != "json" {
				return usagef("--output %q: expected human or json", b.format)
			}
			since, err := registry.ParseDuration(b.since)
			if err != nil || since <= 0 {
				return usagef("--since %q: expected a duration such as 30m, 4h or 30d", b.since)
			}
			if b.listed < 1 {
				return usagef("--listed %d: expected a number above 0", b.listed)
			}
			report, err := b.run(cmd.Context(), given, time.Now().Add(-since))
			if err != nil {
				return err
			}
			if b.format == "json" {
				return printFiltered(cmd.Context(), cmd.OutOrStdout(), nil, report, "  ")
			}
			return showBacktest(cmd.OutOrStdout(), report)
		},
	}
	b.file.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&b.since, "since", "30d", "alerts created within this time, such as 4h or 30d")
	f.StringVar(&b.baseline, "baseline", "", "what to compare with: git:REF, a file or folder, or live")
	f.StringVarP(&b.format, "output", "o", "human", "human or json")
	f.BoolVar(&b.reads, "allow-reads", false, "log in to the server to read what playbooks enrich with")
	f.IntVar(&b.listed, "listed", 20, "how many alerts are named for each change")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"human", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (b *backtest) run(ctx context.Context, given []string, since time.Time) (*playbooks.BacktestReport, error) {
	cfg, err := b.file.load()
	if err != nil {
		return nil, err
	}
	known := daemon.LintActions(nil) // names of sinks are lint's business
	sub, err := b.subject(given, cfg, known)
	if err != nil {
		return nil, err
	}
	options := playbooks.BacktestOptions{Actions: known, Reads: b.reads, Ceiling: cfg.Playbooks.Mode, Listed: b.listed}
	if options.Guard, err = daemon.RehearsalGuard(ctx, cfg); err != nil {
		return nil, err
	}
	if b.reads {
		if options.Actions, err = onlineActions(&b.file); err != nil {
			return nil, err
		}
	}
	r, err := store.OpenReader(ctx, cfg.Store.Path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer r.Close()
	options.History = r
	test, err := playbooks.NewBacktest(sub.set, options)
	if err != nil {
		return nil, err
	}
	if err := b.compare(ctx, test, sub, known); err != nil {
		return nil, err
	}
	if err := eachAlert(ctx, r, since, func(a *soar.StoredAlert) error { return test.Add(ctx, a) }); err != nil {
		return nil, err
	}
	return test.Report(), nil
}

// subject is what a backtest is about.
type subject struct {
	set    *playbooks.Set
	folder string // in which it stands; empty: in the binary
	one    string // the name of the only playbook; empty: all of a folder or of the configuration
}

func (b *backtest) subject(given []string, cfg *config.Config, known map[string]playbooks.Action) (*subject, error) {
	if len(given) == 0 {
		set, err := daemon.LoadPlaybooks(cfg, known)
		return &subject{set: set, folder: cfg.Playbooks.Dir}, err
	}
	pb, err := findPlaybook(given[0], &b.file)
	if errors.Is(err, errFolder) {
		set, problems := playbooks.LoadDir(given[0], known, shipped(known)...)
		return &subject{set: set, folder: given[0]}, problems.Err()
	} else if err != nil {
		return nil, err
	}
	sub := &subject{set: playbooks.NewSet(pb), one: pb.Name}
	if !isShipped(pb) {
		sub.folder = filepath.Dir(pb.File)
	}
	return sub, nil
}

// compare gives the backtest its baseline.
func (b *backtest) compare(ctx context.Context, test *playbooks.Backtest, sub *subject, known map[string]playbooks.Action) error {
	ref, isGit := strings.CutPrefix(b.baseline, "git:")
	var earlier []*playbooks.Playbook
	var err error
	switch {
	case b.baseline == "":
		return nil
	case b.baseline == "live":
		test.CompareWithLive()
		return nil
	case isGit:
		earlier, err = playbooksAt(ctx, sub.folder, ref, known)
	default:
		earlier, err = playbooksIn(b.baseline, known)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--baseline %q: expected git:REF, live, or a file or folder, and no file of that name was found: %w", b.baseline, soar.ErrNotFound)
	} else if err != nil {
		return fmt.Errorf("--baseline: %w", err)
	}
	if sub.one != "" {
		earlier = slices.DeleteFunc(earlier, func(pb *playbooks.Playbook) bool { return pb.Name != sub.one })
		if len(earlier) == 0 && !isGit {
			return usagef("--baseline %s: there is no playbook %q in it", b.baseline, sub.one)
		}
	}
	for _, pb := range sub.set.Playbooks() { // what ships in the binary has no earlier state here
		if isShipped(pb) && !slices.ContainsFunc(earlier, func(e *playbooks.Playbook) bool { return e.Name == pb.Name }) {
			earlier = append(earlier, pb)
		}
	}
	return test.CompareWith(playbooks.NewSet(earlier...))
}

// eachAlert hands over the alerts that were created since a time, in the order in
// which they came in, a page at a time.
func eachAlert(ctx context.Context, r *store.Reader, since time.Time, do func(*soar.StoredAlert) error) error {
	const page = 500
	var pages []int64 // the keys below which they begin, newest first
	for before := int64(0); ; {
		alerts, err := r.Alerts(ctx, store.AlertFilter{Since: since, Before: before, Limit: page})
		if err != nil {
			return err
		}
		if len(alerts) == 0 {
			break
		}
		pages = append(pages, alerts[0].Key+1)
		before = alerts[len(alerts)-1].Key
	}
	for i, before := range slices.Backward(pages) {
		alerts, err := r.Alerts(ctx, store.AlertFilter{Since: since, Before: before, Limit: page})
		if err != nil {
			return err
		}
		for j := range slices.Backward(alerts) {
			if i+1 < len(pages) && alerts[j].Key < pages[i+1] {
				continue // it has moved up since, because others were deleted
			}
			if err := do(&alerts[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

func showBacktest(w io.Writer, r *playbooks.BacktestReport) error {
	reads := "nothing was looked up"
	if r.Reads {
		reads = "enrichment as it is now"
	}
	fmt.Fprintf(w, "%s, %s to %s; %s\n\n", count(r.Alerts, "alert"), stamp(r.From), stamp(r.To), reads)
	if len(r.Results) == 0 {
		_, err := fmt.Fprintln(w, "there are no playbooks")
		return err
	}
	number := strconv.Itoa
	columns := []column[playbooks.PlaybookBacktest]{
		{"playbook", func(p playbooks.PlaybookBacktest) string { return p.Playbook }},
		{"mode", func(p playbooks.PlaybookBacktest) string { return string(p.Mode) }},
		{"matched", func(p playbooks.PlaybookBacktest) string { return number(p.Matched) }},
		{"runs", func(p playbooks.PlaybookBacktest) string { return number(p.Matched - p.Suppressed - p.Grouped) }},
		{"not matched", func(p playbooks.PlaybookBacktest) string { return number(p.NotMatched) }},
		{"errors", func(p playbooks.PlaybookBacktest) string { return number(p.Errors) }},
		{"unknown", func(p playbooks.PlaybookBacktest) string { return number(p.Unknown) }},
		{"hosts", func(p playbooks.PlaybookBacktest) string { return number(p.Hosts) }},
		{"approvals", func(p playbooks.PlaybookBacktest) string { return number(p.Approvals) }},
		{"busiest hour", func(p playbooks.PlaybookBacktest) string {
			if p.BusiestHour == nil {
				return ""
			}
			return p.BusiestHour.Hour.Format("2006-01-02 15:00Z") + ": " + number(p.BusiestHour.Runs)
		}},
	}
	if r.Baseline == "playbooks" {
		columns = append(columns, column[playbooks.PlaybookBacktest]{"since the baseline", func(p playbooks.PlaybookBacktest) string { return p.Change }})
	}
	if err := printTable(w, r.Results, columns); err != nil {
		return err
	}
	for i := range r.Results {
		showPlaybookBacktest(w, &r.Results[i], r.Alerts)
	}
	return nil
}

func showPlaybookBacktest(w io.Writer, p *playbooks.PlaybookBacktest, alerts int) {
	var lines []string
	if alerts > 0 && p.Change != "removed" && p.Matched+p.NotMatched+p.Errors+p.Unknown == 0 {
		lines = append(lines, "it takes no alerts")
	}
	for _, change := range []struct {
		what string
		list *playbooks.AlertList
	}{{"newly matching", p.NewlyMatching}, {"no longer matching", p.NoLongerMatching}, {"newly failing", p.NewlyFailing}} {
		if change.list == nil {
			continue
		}
		more := ""
		if left := change.list.Count - len(change.list.Alerts); left > 0 {
			more = fmt.Sprintf(" and %d more", left)
		}
		lines = append(lines, fmt.Sprintf("%s, %s: %s%s", change.what, count(change.list.Count, "alert"), strings.Join(change.list.Alerts, " "), more))
	}
	if p.Uncertain > 0 {
		lines = append(lines, fmt.Sprintf("whether %s match as before needs a look-up", count(p.Uncertain, "alert")))
	}
	if p.FirstError != "" {
		lines = append(lines, "the first error: "+p.FirstError)
	}
	for _, a := range p.Actions {
		line := fmt.Sprintf("%s: %d", a.Action, a.Calls)
		if a.Before != nil && *a.Before != a.Calls {
			line += fmt.Sprintf(" (the baseline: %d)", *a.Before)
		}
		if a.Unknown > 0 {
			line += fmt.Sprintf(", unknown: %d", a.Unknown)
		}
		if a.Refused > 0 {
			line += fmt.Sprintf(", refused: %d", a.Refused)
		}
		if a.Held > 0 {
			line += fmt.Sprintf(", held: %d", a.Held)
		}
		if a.OnFailure > 0 {
			line += fmt.Sprintf(", only when a step fails: %d", a.OnFailure)
		}
		lines = append(lines, line)
	}
	for _, g := range p.Guard {
		lines = append(lines, fmt.Sprintf("%s: refuses %s, holds %s", g.Check, count(g.Refused, "call"), count(g.Held, "call")))
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", clean(p.Playbook))
	for _, line := range lines {
		fmt.Fprintf(w, "  %s\n", clean(line))
	}
}
