package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

func newPlaybookRun() *cobra.Command {
	var file configFlag
	var out output
	var start daemon.RunStart
	var input string
	cmd := &cobra.Command{
		Use:   "run PLAYBOOK [--alert ALERT] [--input JSON]",
		Short: "run a playbook by hand",
		Long: `run starts a playbook that has "manual" under on, in the running erbridge.

Its conditions and its cool-down are asked as for an alert; --alert names the alert of
the store that it is about, and --input is what its steps see as .input. Where the run
may change something, because the playbook enforces, run asks first, unless --yes.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			start.Playbook = given[0]
			if input != "" {
				if err := json.Unmarshal([]byte(input), &start.Input); err != nil {
					return usagef("--input is not JSON: %v", err)
				}
			}
			if start.By == "" {
				if u, err := user.Current(); err == nil {
					start.By = u.Username
				}
			}
			if start.By == "" {
				return usagef("your name is not known here: say it with --by")
			}
			var run soar.Run
			err := file.control(cmd.Context(), func(c daemon.Control) (err error) {
				run, err = c.StartRun(cmd.Context(), start)
				if !errors.Is(err, playbooks.ErrNotAgreed) {
					return err
				}
				if err := agree(cmd.InOrStdin(), cmd.ErrOrStderr(), start); err != nil {
					return err
				}
				start.Enforce = true
				run, err = c.StartRun(cmd.Context(), start)
				return err
			})
			if err != nil {
				return err
			}
			return printItem(cmd.Context(), cmd, &out, run, func(w io.Writer, run soar.Run) error {
				_, err := fmt.Fprintf(w, "run %s of %s has begun; erbridge runs show %s tells how it goes\n", run.ID, clean(run.Playbook), run.ID)
				return err
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&start.Alert, "alert", "", "the alert that it is about, such as er-4711")
	cmd.Flags().StringVar(&input, "input", "", "what steps see as .input, as JSON")
	cmd.Flags().StringVar(&start.By, "by", "", "who starts it; default is your user name")
	cmd.Flags().BoolVarP(&start.Enforce, "yes", "y", false, "do not ask before a run that may change something")
	return cmd
}

// agree asks a person before a run that may change something.
func agree(in io.Reader, out io.Writer, start daemon.RunStart) error {
	about := "no alert"
	if start.Alert != "" {
		about = "alert " + clean(start.Alert)
	}
	fmt.Fprintf(out, "%s enforces: its steps are carried out, on %s. Run it? [y/N] ", clean(start.Playbook), about)
	return answeredYes(in)
}

// answeredYes reads the answer of a person. Without a yes, it is an error.
func answeredYes(in io.Reader) error {
	line, err := bufio.NewReader(in).ReadString('\n')
	switch answer := strings.ToLower(strings.TrimSpace(line)); {
	case answer == "y" || answer == "yes":
		return nil
	case errors.Is(err, io.EOF) && answer == "":
		return usagef("nobody is there to ask; --yes runs it without asking")
	}
	return errors.New("nothing was started")
}
