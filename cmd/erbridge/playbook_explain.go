package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

// explanation are the flags of playbook explain.
type explanation struct {
	file      configFlag
	out       output
	alert     string
	alertFile string
	on        string
	run       string
	input     string
	expect    string
	online    bool
}

// expectations are what --expect takes, and the verdicts that it means.
var expectations = map[string]playbooks.Verdict{
	"match": playbooks.Match, "no-match": playbooks.NoMatch, "error": playbooks.Failed, "unknown": playbooks.Unknown,
}

func newPlaybookExplain() *cobra.Command {
	var e explanation
	cmd := &cobra.Command{
		Use:   "explain PLAYBOOK [ALERT]",
		Short: "show condition by condition what a playbook makes of an alert, and what it would do",
		Long: `explain evaluates one playbook on one alert, or on what else starts its runs, and sends
nothing that has an effect.

PLAYBOOK is a file, or the name of a playbook of the configuration or the library.
ALERT is an alert of the store, such as er-4711, or a file: an alert as tests have it,
in JSON or YAML, or what alerts show --output json prints. The clock stands at the time
at which it came in, where that is known.

The exit code is 0 whatever the verdict is; with --expect, it is 1 when the verdict is
another one.

A playbook that takes no alerts needs none: it is explained for the next time of its
schedule, for a person who starts it, or for a failed run, in the order of its on;
--on names another. What a person gives stands in --input, and the failed run is named
with --run.

A + stands before what speaks for a match, a - before what does not, and a ! before
what could not be evaluated. A ? stands before what nobody knows here: how many like
alerts there are, where no alerts are stored, or what a failed run is, without --run.
Where that decides, the verdict is unknown. Enrichment is read from the server with
--online; without, it counts as failed.`,
		Example: `  erbridge playbook explain kill-miner.yaml --alert er-4711
  erbridge playbook explain release-expired-containments
  erbridge playbook explain triage-note --alert alert.json --expect match`,
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := e.out.check(); err != nil {
				return err
			}
			if _, known := expectations[e.expect]; !known && e.expect != "" {
				return usagef("--expect %q: expected match, no-match, error or unknown", e.expect)
			}
			alerts := slices.DeleteFunc(append(given[1:len(given):len(given)], e.alert, e.alertFile), func(s string) bool { return s == "" })
			if len(alerts) > 1 {
				return usagef("name one alert of the store, or one file, with --alert")
			}
			x, err := e.explain(cmd, given[0], alerts)
			if err != nil {
				return err
			}
			if err := printItem(cmd.Context(), cmd, &e.out, x, showExplanation); err != nil {
				return err
			}
			if e.expect != "" && expectations[e.expect] != x.Verdict {
				return fmt.Errorf("playbook %s%s says %s, and --expect %s", x.Playbook, x.Occasion(), x.Verdict, e.expect)
			}
			return nil
		},
	}
	e.file.flags(cmd)
	e.out.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&e.alert, "alert", "", "an alert of the store, or a file as tests have it; - is standard input")
	f.StringVar(&e.alertFile, "alert-file", "", "a file with the alert; - is standard input")
	f.StringVar(&e.on, "on", "", "what starts the run: "+strings.Join(playbooks.Triggers(), ", "))
	f.StringVar(&e.run, "run", "", "the failed run of the store that on: run.failed is about")
	f.StringVar(&e.input, "input", "", "what a person gives, as JSON")
	f.StringVar(&e.expect, "expect", "", "fail unless this is the verdict: match, no-match, error or unknown")
	f.BoolVar(&e.online, "online", false, "log in to the server to read what the playbook enriches with")
	_ = cmd.RegisterFlagCompletionFunc("on", cobra.FixedCompletions(playbooks.Triggers(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("expect", cobra.FixedCompletions([]string{"match", "no-match", "error", "unknown"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (e *explanation) explain(cmd *cobra.Command, name string, alerts []string) (*playbooks.Explanation, error) {
	pb, err := findPlaybook(name, &e.file)
	if err != nil {
		return nil, err
	}
	trigger, at, err := e.trigger(cmd, pb, alerts)
	if err != nil {
		return nil, err
	}
	options := playbooks.ExplainOptions{Now: time.Now}
	if !at.IsZero() {
		options.Now = func() time.Time { return at }
	}
	cfg, err := e.file.load()
	if err != nil && (!errors.Is(err, config.ErrUnreadable) || !errors.Is(err, fs.ErrNotExist) || cmd.Flags().Changed("config")) {
		return nil, err // there is one, and what it says of the mode is not known
	}
	// .count needs the store, and so does what the guard knows; without one, an alert of a
	// file can be explained all the same.
	r, noStore := e.file.reader(cmd.Context())
	if noStore == nil {
		defer r.Close()
		options.History = r
	}
	if err == nil { // without a configuration, nothing holds the playbook back
		options.Ceiling = cfg.Playbooks.Mode
		if options.Guard, err = configuredGuard(cmd.Context(), cfg, r); err != nil {
			return nil, err
		}
	}
	known := daemon.LintActions(nil)
	if e.online {
		if known, err = onlineActions(&e.file); err != nil {
			return nil, err
		}
		options.Actions = known
	}
	pb, problems := pb.Again(known, options.Now)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
	defer cancel()
	return playbooks.ExplainTrigger(ctx, pb, trigger, options)
}

// configuredGuard is the guard of a configuration, with what the store says; r is nil
// where there is none.
func configuredGuard(ctx context.Context, cfg *config.Config, r *store.Reader) (*guard.Guard, error) {
	if r == nil {
		return daemon.StoredGuard(ctx, cfg, nil, time.Now())
	}
	return daemon.StoredGuard(ctx, cfg, r, time.Now())
}

// isFile reports whether a word that may name an alert names a file.
func isFile(word string) bool {
	if word == "-" {
		return true
	}
	info, err := os.Stat(word)
	return err == nil && !info.IsDir()
}

func storedAlert(ctx context.Context, file *configFlag, ref string) (soar.Alert, error) {
	stored, err := storedAlertWith(ctx, file, ref)
	return stored.Alert, err
}

// storedAlertWith is an alert with all that the store knows about it.
func storedAlertWith(ctx context.Context, file *configFlag, ref string) (soar.StoredAlert, error) {
	r, err := file.reader(ctx)
	if err != nil {
		return soar.StoredAlert{}, err
	}
	defer r.Close()
	return r.AlertByRef(ctx, ref) // an error names the alert
}

// readAlert takes an alert by itself, or as alerts show prints it, as tests do.
func readAlert(stdin io.Reader, path string) (soar.Alert, error) {
	stored, err := readStored(stdin, path)
	return stored.Alert, err
}

func readStored(stdin io.Reader, path string) (stored soar.StoredAlert, err error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return stored, fmt.Errorf("alert %w", notFound(err))
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxDataBytes))
	if err != nil {
		return stored, fmt.Errorf("alert %s: %w", inputName(path), err)
	}
	if stored.Alert, stored.ReceivedAt, err = playtest.ReadAlert(data); err != nil {
		return stored, usagef("%s: not an alert: %v", inputName(path), err)
	}
	return stored, nil
}

// inputName is what messages call a file, or standard input for -.
func inputName(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

// showExplanation prints the tree of conditions, the word of the guard and the steps.
func showExplanation(w io.Writer, x *playbooks.Explanation) error {
	for line := range strings.Lines(x.Text()) {
		if _, err := fmt.Fprintln(w, clean(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}
