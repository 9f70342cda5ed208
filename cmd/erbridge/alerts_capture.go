package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

func newAlertsCapture() *cobra.Command {
	var file configFlag
	var dir, playbook string
	var keep []string
	cmd := &cobra.Command{
		Use:   "capture ALERT",
		Short: "write an alert of the store as a file to test playbooks with, names replaced",
		Long: `capture writes the alert into a file that tests of playbooks take. Names of hosts and
users, domains, addresses, mail addresses and serials are replaced, and secrets that
stand in a command line as they usually do; the same word by the same word everywhere.
What was replaced is listed on standard error. Read the file before you hand it on:
not every name in a command line can be told to be one.

With --playbook, it writes tests of that playbook too, as they pass now, unless it
has tests. Else it prints how a test would begin.`,
		Example: `  erbridge alerts capture er-4711 --dir playbooks/alerts --playbook playbooks/kill-miner.yaml
  erbridge alerts capture er-4711 --keep host.name --keep event.remote_address`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			pb, err := testedPlaybook(playbook)
			if err != nil {
				return err
			}
			alert, err := storedAlert(cmd.Context(), &file, given[0])
			if errors.Is(err, soar.ErrNotFound) {
				return fmt.Errorf("%w; erbridge alerts list names those of the store", err)
			} else if err != nil {
				return err
			}
			redacted, replaced, err := playtest.Redact(&alert, keep)
			if unknown, ok := errors.AsType[*playtest.NoFieldError](err); ok {
				return usagef("--keep: %v", unknown)
			} else if err != nil {
				return err
			}
			data, err := json.MarshalIndent(redacted, "", "  ")
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("capture: %w", err)
			}
			path := filepath.Join(dir, fileName(given[0])+".json")
			if err := createFile(path, append(data, '\n')); err != nil {
				return err
			}
			for _, r := range replaced {
				if r.Kind == "secret" {
					r.Old = hidden
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%-8s %s -> %s\n", r.Kind, clean(r.Old), clean(r.New))
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\n", clean(path)); err != nil {
				return err
			}
			return captureTest(cmd, path, playbook, pb)
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&dir, "dir", ".", "the folder to write to")
	cmd.Flags().StringVar(&playbook, "playbook", "", "the file of a playbook to write tests for")
	cmd.Flags().StringArrayVar(&keep, "keep", nil, "a field to leave as it is, such as host.name or event.cmdline; may be given again")
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.MarkFlagFilename("playbook", "yaml", "yml")
	return cmd
}

// fileName is an alert's name as that of a file.
func fileName(ref string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, ref)
}

// testedPlaybook reads the playbook that is to get tests; nil when none is.
func testedPlaybook(file string) (*playbooks.Playbook, error) {
	if file == "" {
		return nil, nil
	}
	pb, problems, err := readPlaybook(file, testActions(nil))
	if err != nil {
		return nil, err
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if !pb.Takes("alert") && !pb.Takes("alert.updated") && !pb.Takes("manual") {
		return nil, usagef("playbook %s takes no alerts, so that one tells nothing about it", pb.Name)
	}
	return pb, nil
}

// captureTest writes the tests of a playbook on an alert, or shows how they begin.
func captureTest(cmd *cobra.Command, fixture, playbook string, pb *playbooks.Playbook) error {
	if pb == nil {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "\nA test begins like this, in NAME_test.yaml beside NAME.yaml:\n\nalert: %s\ntests:\n  - name: what it is about\n    expect:\n      verdict: match\n",
			clean(filepath.ToSlash(fixture)))
		return err
	}
	path, err := relative(filepath.Dir(playbook), fixture)
	if err != nil {
		return err
	}
	return writeTests(cmd, pb, playbook, path)
}

// writeTests writes what happens as what is expected.
func writeTests(cmd *cobra.Command, pb *playbooks.Playbook, playbook, fixture string) error {
	test := playtest.TestName(playbook)
	if _, err := os.Stat(test); err == nil {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is there already: name the alert in it as %s\n", clean(test), clean(fixture))
		return err
	}
	if err := createFile(test, playtest.Skeleton(pb, fixture, "the alert that was captured")); err != nil {
		return err
	}
	if err := completeTests(cmd, test); err != nil {
		return errors.Join(fmt.Errorf("%s was not written: %w", test, err), os.Remove(test))
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\n", clean(test))
	return err
}

func completeTests(cmd *cobra.Command, test string) error {
	places, err := placesOf([]string{test})
	if err != nil {
		return err
	}
	report, err := playtest.Run(cmd.Context(), places, testOptions(nil))
	if err != nil {
		return err
	}
	return report.Complete()
}
