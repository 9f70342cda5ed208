package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/library"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

// testRun are the flags of playbook test.
type testRun struct {
	file     configFlag
	run      string
	format   string
	update   bool
	coverage bool
	min      float64
	watch    bool

	only *regexp.Regexp
}

func newPlaybookTest() *cobra.Command {
	var t testRun
	cmd := &cobra.Command{
		Use:   "test [FILE|FOLDER|PLAYBOOK]...",
		Short: "run the tests of playbooks; nothing leaves the process, and nothing waits",
		Long: `test runs NAME_test.yaml beside NAME.yaml: an alert comes in, the engine works on it
as it does in earnest, and the test's own answers stand in for everything that would
leave the process. The clock moves by itself.

PLAYBOOK is the name of a playbook of the configuration or the library. Without
arguments, it tests the library and the folder of the configuration.

The exit code is 1 when a test fails, when no test runs, and when the coverage is below
--min; it is 78 when a file has mistakes, and then nothing has run. --watch ends with 0
when it is interrupted.

--update rewrites what failed tests expect to what happened; read the difference
before you keep it. --coverage lists conditions that no test has seen both ways, steps
that none runs and on_error that none takes.`,
		Example: `  erbridge playbook test kill-miner.yaml
  erbridge playbook test playbooks/ --run 'kill-miner/.*parent' --watch
  erbridge playbook test --coverage --min 90 --output junit > tests.xml`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			if err := t.check(cmd); err != nil {
				return err
			}
			places, err := t.places(cmd, paths)
			if err != nil {
				return err
			}
			once := func() error { return t.once(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), places) }
			if !t.watch {
				return once()
			}
			ticker := time.NewTicker(500 * time.Millisecond)
			defer ticker.Stop()
			return watch(cmd.Context(), cmd.ErrOrStderr(), ticker.C, func() string { return filesOf(places) }, once)
		},
	}
	t.file.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&t.run, "run", "", "only tests whose PLAYBOOK/NAME matches this regular expression")
	f.StringVarP(&t.format, "output", "o", "human", strings.Join(playtest.Formats, ", "))
	f.BoolVar(&t.update, "update", false, "rewrite what failed tests expect")
	f.BoolVar(&t.coverage, "coverage", false, "list what no test has seen")
	f.Float64Var(&t.min, "min", 0, "fail when the coverage is below this many percent; implies --coverage")
	f.BoolVar(&t.watch, "watch", false, "run again whenever a file changes, until interrupted")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(playtest.Formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (t *testRun) check(cmd *cobra.Command) (err error) {
	if !slices.Contains(playtest.Formats, t.format) {
		return usagef("--output %q: expected %s", t.format, strings.Join(playtest.Formats, ", "))
	}
	if t.only = nil; t.run != "" {
		if t.only, err = regexp.Compile(t.run); err != nil {
			return usagef("--run %q: %v", t.run, err)
		}
	}
	if t.min < 0 || t.min > 100 {
		return usagef("--min %g: expected a number from 0 to 100", t.min)
	}
	t.coverage = t.coverage || cmd.Flags().Changed("min")
	return nil
}

// places are where the tests are.
func (t *testRun) places(cmd *cobra.Command, paths []string) ([]playtest.Place, error) {
	if len(paths) > 0 {
		return t.placesOf(paths)
	}
	places := []playtest.Place{{FS: library.FS, Shown: "library"}}
	cfg, err := t.file.load()
	switch {
	case errors.Is(err, config.ErrUnreadable) && errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config"):
		return places, nil // there is none, and none was named
	case err != nil:
		return nil, err
	case cfg.Playbooks.Dir != "":
		places = append(places, playtest.Place{Dir: cfg.Playbooks.Dir})
	}
	return places, nil
}

// placesOf takes what is no file, and looks like none, for the name of a playbook.
func (t *testRun) placesOf(paths []string) (places []playtest.Place, err error) {
	for _, path := range paths {
		var more []playtest.Place
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && !strings.ContainsRune(path, filepath.Separator) && !playbooks.IsPlaybookFile(path) {
			more, err = t.named(path)
		} else {
			more, err = placesOf([]string{path})
		}
		if err != nil {
			return nil, err
		}
		places = append(places, more...)
	}
	return places, nil
}

func placesOf(paths []string) (places []playtest.Place, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("playbook %w", notFound(err))
		case info.IsDir():
			places = append(places, playtest.Place{Dir: path})
		default:
			places = append(places, playtest.Place{Dir: filepath.Dir(path), Names: []string{filepath.Base(path)}})
		}
	}
	return places, nil
}

// named is where a playbook of the configuration or the library stands.
func (t *testRun) named(name string) ([]playtest.Place, error) {
	pb, err := findPlaybook(name, &t.file)
	if err != nil {
		return nil, err
	}
	if shipped, ok := strings.CutPrefix(pb.File, "library/"); ok && slices.Contains(config.LibraryNames(), name) {
		return []playtest.Place{{FS: library.FS, Shown: "library", Names: []string{shipped}}}, nil
	}
	return placesOf([]string{pb.File})
}

// once runs all tests and tells what came of them; notes are for what is no report.
func (t *testRun) once(ctx context.Context, w, notes io.Writer, places []playtest.Place) error {
	options := testOptions(t.only)
	report, err := playtest.Run(ctx, places, options)
	if err != nil {
		return err
	}
	if t.update {
		updated, err := report.Update()
		if err != nil {
			return err
		}
		if updated > 0 {
			fmt.Fprintf(notes, "erbridge: rewrote what is expected in %s; read the difference before you keep it\n", count(updated, "test"))
			if report, err = playtest.Run(ctx, places, options); err != nil {
				return err
			}
		}
	}
	if err := report.Write(w, t.format, t.coverage); err != nil {
		return err
	}
	passed, failed := report.Counts()
	switch percent := report.Percent(); {
	case failed > 0:
		return fmt.Errorf("%d of %s failed", failed, count(passed+failed, "test"))
	case passed == 0 && t.only != nil:
		return fmt.Errorf("--run %q: no test has such a name", t.run)
	case passed == 0:
		return errors.New("there are no tests; they stand in NAME_test.yaml beside NAME.yaml")
	case t.coverage && percent < t.min:
		return fmt.Errorf("the tests cover %.1f%%, and --min asks for %g%%", percent, t.min)
	}
	return nil
}

// testOptions are how tests of playbooks run.
func testOptions(only *regexp.Regexp) playtest.Options {
	return playtest.Options{Actions: testActions, Only: only, Others: []playtest.Place{{FS: library.FS, Shown: "library"}}}
}

// watch runs again whenever the state of the files is another one. It ends with ctx.
func watch(ctx context.Context, w io.Writer, tick <-chan time.Time, state func() string, run func() error) error {
	for last := ""; ; {
		if now := state(); now != last {
			last = now
			if err := run(); err != nil && ctx.Err() == nil {
				report(w, err)
			}
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return nil
		}
	}
}

// filesOf tells by times and sizes whether a file has changed: playbooks, tests and
// alerts, the lists of playbooks, and alerts elsewhere that tests name.
func filesOf(places []playtest.Place) string {
	sum := sha256.New()
	note := func(path string) {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano())
		}
	}
	for _, p := range places {
		if p.Dir == "" {
			continue
		}
		_ = filepath.WalkDir(p.Dir, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return nil //nolint:nilerr // what cannot be read now is looked at again
			case entry.IsDir() && path != p.Dir && strings.HasPrefix(entry.Name(), "."):
				return fs.SkipDir
			case entry.IsDir():
				return nil
			}
			switch filepath.Ext(path) {
			case ".json":
				note(path)
			case ".yaml", ".yml":
				note(path)
				for _, name := range namedIn(path) {
					note(filepath.Join(filepath.Dir(path), filepath.FromSlash(name)))
				}
			}
			return nil
		})
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// namedIn are the files that a playbook or its tests name.
func namedIn(path string) []string {
	data, err := os.ReadFile(path)
	switch {
	case err != nil:
		return nil // it is looked at again
	case playbooks.IsPlaybookFile(filepath.Base(path)):
		return playbooks.ListFiles(data)
	}
	return playtest.AlertFiles(data)
}
