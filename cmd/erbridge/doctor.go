package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/doctor"
	"github.com/erbridge/erbridge/internal/store"
)

func newDoctor() *cobra.Command {
	var file configFlag
	var format string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "look at everything between the configuration and the server, and say what is wrong",
		Long: `doctor goes the way from the configuration to the server step by step and prints a
line for each: the configuration, the name, the connection, the certificate, the
base path, the clocks, the login, release and edition, the role, the sources of
alerts, the documented calls, the hosts, and whether they take response actions;
then whether the playbooks can be used, and whether a daemon that runs uses them, and
whether everything is paused.
Below a line that is not ok stands what to do about it.

It changes nothing on the server, and it works when the server is down: what
cannot be looked at then is skipped. The exit code is 0 unless a check failed;
warnings do not count.`,
		Example: `  erbridge doctor
  erbridge doctor --output json | jq '.[] | select(.status != "ok")'`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case format != "text" && format != "json":
				return usagef("--output %q: expected text or json", format)
			case timeout < 0:
				return usagef("--timeout: %v is no time", timeout)
			}
			var results []doctor.Result
			err := doctor.Run(cmd.Context(), doctor.Options{
				Config: file.path, Timeout: timeout,
				NewClient: func(cfg *config.Config) (*connector.Client, error) {
					return daemon.NewClient(cfg, daemon.Options{Version: buildVersion()})
				},
				Playbooks: examinePlaybooks,
				Paused:    examinePaused,
			}, func(r doctor.Result) {
				results = append(results, r)
				if format == "text" {
					printResult(cmd.OutOrStdout(), r)
				}
			})
			if format == "json" {
				if printErr := printJSON(cmd.OutOrStdout(), results, "  "); printErr != nil {
					return printErr
				}
			}
			return err
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json: a list of check, status, found and hint")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long one answer of the server may take (default server.timeout, at most 10s)")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// examinePlaybooks asks the running daemon whether it refuses what is on disk, since it
// knows since when, and loads the playbooks here if it does not.
func examinePlaybooks(ctx context.Context, cfg *config.Config) (int, error) {
	if cfg.Console.Listen != "" {
		if ready, err := askReady(ctx, cfg.Console.Listen); err == nil && ready.Warnings["playbooks"] != "" {
			return 0, errors.New(ready.Warnings["playbooks"])
		}
	}
	set, err := daemon.LoadPlaybooks(cfg, daemon.LintActions(cfg))
	return len(set.Playbooks()), err
}

// examinePaused says what keeps the kill switch thrown: a file, or a person, whose word
// the store has.
func examinePaused(ctx context.Context, cfg *config.Config) (string, error) {
	if t := daemon.PausedByFile(cfg, time.Now()); t != nil {
		return t.String(), nil
	}
	r, err := store.OpenReader(ctx, cfg.Store.Path)
	if errors.Is(err, store.ErrNoStore) {
		return "", nil // it has never run
	}
	if err != nil {
		return "", err
	}
	defer r.Close()
	t, err := daemon.Paused(ctx, r)
	if err != nil || t == nil {
		return "", err
	}
	return t.String(), nil
}

// printResult prints a check, and its hint on a line below.
func printResult(w io.Writer, r doctor.Result) {
	fmt.Fprintf(w, "%-4s  %-14s  %s\n", r.Status, r.Check, clean(r.Found))
	if r.Hint != "" {
		fmt.Fprintf(w, "%s  %s\n", strings.Repeat(" ", 20), "-> "+clean(r.Hint))
	}
}
