package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

func newPlaybookNew() *cobra.Command {
	var dir, alertFile, on string
	cmd := &cobra.Command{
		Use:   "new [NAME]",
		Short: "propose a playbook, and its tests, after an alert or for another trigger",
		Long: `new writes NAME.yaml, with conditions that the alert meets and a step that notes it,
and NAME_test.yaml, whose tests pass: the alert matches, and does not without each of
the conditions. The playbook only observes. Without a name, it has that of the rule.

The alert is a file as "erbridge alerts capture" writes it. With --on in its place, the
playbook is one that the clock, a person or a failed run starts.`,
		Example: `  erbridge alerts capture er-4711 --dir playbooks/alerts
  erbridge playbook new kill-miner --alert playbooks/alerts/er-4711.json --dir playbooks
  erbridge playbook new hourly-sweep --on schedule --dir playbooks`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if on != "" {
				return newOn(cmd, dir, on, given, alertFile)
			}
			if alertFile == "" || alertFile == "-" {
				return usagef("name the file of an alert with --alert")
			}
			alert, err := readAlert(cmd.InOrStdin(), alertFile)
			if err != nil {
				return err
			}
			name := slug(alert.Title())
			if len(given) == 1 {
				name = given[0]
			}
			if err := checkName(name); err != nil {
				return err
			}
			fixture, err := relative(dir, alertFile)
			if err != nil {
				return err
			}
			return writeDraft(cmd, dir, name, playtest.NewDraft(name, &alert, fixture), "drop the conditions that are only true of this alert")
		},
	}
	cmd.Flags().StringVar(&alertFile, "alert", "", "the file of the alert")
	cmd.Flags().StringVar(&on, "on", "", "what starts it in place of an alert: "+strings.Join(playtest.DraftTriggers(), ", "))
	cmd.Flags().StringVar(&dir, "dir", ".", "the folder to write to")
	_ = cmd.MarkFlagFilename("alert", "json")
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}

var (
	playbookName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,79}$`)
	notInNames   = regexp.MustCompile(`[^a-z0-9]+`)
)

func checkName(name string) error {
	if !playbookName.MatchString(name) || strings.HasSuffix(name, "_test") { // NAME_test.yaml would be tests
		return usagef("%q is no name for a playbook: small letters, digits, - and _, without _test at its end", name)
	}
	return nil
}

// slug makes a name of a title.
func slug(title string) string {
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(title), "-"), "-")
	if len(name) > 60 {
		name = strings.TrimRight(name[:60], "-")
	}
	if name == "" {
		return "playbook"
	}
	return name
}

// newOn writes a playbook that no alert starts.
func newOn(cmd *cobra.Command, dir, on string, given []string, alertFile string) error {
	switch words := playtest.DraftTriggers(); {
	case alertFile != "":
		return usagef("either --on or --alert")
	case !slices.Contains(words, on):
		return usagef("--on %q: expected %s; for alerts, name one with --alert", on, strings.Join(words, ", "))
	case len(given) == 0:
		return usagef("name the playbook")
	}
	if err := checkName(given[0]); err != nil {
		return err
	}
	return writeDraft(cmd, dir, given[0], playtest.NewDraftOn(given[0], on), "say what it should do")
}

// writeDraft writes a playbook and its tests, and says what to do next.
func writeDraft(cmd *cobra.Command, dir, name string, draft *playtest.Draft, next string) error {
	file := filepath.Join(dir, name+".yaml")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("playbook: %w", err)
	}
	if err := createFile(file, draft.Playbook); err != nil {
		return err
	}
	test := playtest.TestName(file)
	if err := createFile(test, draft.Tests); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	if err := writeSchemas(dir); err != nil {
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "wrote %s and %s\nNext: %s, then run: erbridge playbook test %s\n", clean(file), clean(test), next, clean(file))
	return err
}

// relative is how a file below or beside a folder is named from there.
func relative(dir, file string) (string, error) {
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	to, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	path, err := filepath.Rel(from, to)
	if err != nil {
		return "", fmt.Errorf("%s cannot be named from %s: %w", file, dir, err)
	}
	return filepath.ToSlash(path), nil
}

// createFile writes a file that must not be there yet.
func createFile(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usagef("%s exists already; nothing was written", path)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(data)
	return err
}

// testActions are the actions as tests of playbooks see them. Whether a sink is
// configured is lint's question.
func testActions(now func() time.Time) map[string]playbooks.Action {
	return actions.All(actions.Deps{Now: now})
}
