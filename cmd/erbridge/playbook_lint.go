package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/library"
	"github.com/erbridge/erbridge/playbooks/lint"
)

func newPlaybookLint() *cobra.Command {
	var file configFlag
	var format, since string
	var fix bool
	cmd := &cobra.Command{
		Use:   "lint [FILE|FOLDER]...",
		Short: "check playbooks; without arguments, those of the configuration",
		Long: `lint reads playbooks and reports every mistake with its place: what the engine
refuses, such as unknown keys, wrong arguments and jq that reads what is not there,
and what loads and is a mistake all the same, such as steps that are never reached,
actions on endpoints without a scope and secrets in plain text. Each finding has a
code, which erbridge docs CODE explains.

Files and folders are checked without a configuration unless --config is given;
then the names of sinks are checked too.

A comment # lint:ignore CODE reason suppresses a finding on its line, or in what
begins on the line below it. What the engine refuses cannot be suppressed.

The file - is standard input. With --changed-since, what a change brings about in
files that did not change is reported too: a call of a playbook that was deleted.

The exit code is 78 when there are findings. Warnings do not count.`,
		Example: `  erbridge playbook lint playbooks/
  erbridge playbook lint --fix playbooks/kill-miner.yaml
  erbridge playbook lint --changed-since origin/main --output github playbooks/`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			if !slices.Contains(lint.Formats(), format) {
				return usagef("--output %q: expected %s", format, strings.Join(lint.Formats(), ", "))
			}
			var cfg *config.Config
			var err error
			if len(paths) == 0 || cmd.Flags().Changed("config") {
				if cfg, err = file.load(); err != nil {
					return err
				}
			}
			actions := daemon.LintActions(cfg)
			set, err := readLintSet(cmd.InOrStdin(), paths, cfg)
			if err != nil {
				return err
			}
			if _, piped := set.indexOf(stdinName); piped && (fix || cmd.Flags().Changed("changed-since")) {
				return usagef("standard input has no file to correct or to compare: neither --fix nor --changed-since goes with -")
			}
			if cmd.Flags().Changed("changed-since") {
				if err := set.changedSince(cmd.Context(), since, actions); err != nil {
					return err
				}
			}
			if fix {
				if err := set.fix(cmd.ErrOrStderr(), actions); err != nil {
					return err
				}
			}
			return set.report(cmd, format, actions)
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "human", "human, json (one list), sarif, github or junit")
	cmd.Flags().StringVar(&since, "changed-since", "", "report only what is in files that differ from this commit or branch of git, or comes of their change")
	cmd.Flags().BoolVar(&fix, "fix", false, "correct what can be corrected without knowing what is meant; comments and formatting stay")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(lint.Formats(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// errFindings means that lint found mistakes, and has printed them.
var errFindings = errors.New("lint found mistakes")

// findingsError counts them.
type findingsError struct{ mistakes, playbooks int }

func (e *findingsError) Error() string {
	return fmt.Sprintf("%s in %s; erbridge docs CODE explains them", count(e.mistakes, "mistake"), count(e.playbooks, "playbook"))
}

func (e *findingsError) Unwrap() error { return errFindings }

// lintSet is what one call of lint looks at.
type lintSet struct {
	files []lint.File
	// known are files beside those that were named: they may be called.
	known []lint.File
	// shown are the files that are reported on; nil is all.
	shown map[string]bool
	// before is what there was to say of the others already.
	before map[said]bool
	// folders are those that were named.
	folders []string
	// shipped are the files that stand in the binary.
	shipped map[string]bool
}

// stdinName is how findings name standard input.
const stdinName = "stdin"

// readLintSet reads the paths, or what the configuration names.
func readLintSet(stdin io.Reader, paths []string, cfg *config.Config) (*lintSet, error) {
	set := &lintSet{shipped: map[string]bool{}}
	if len(paths) == 0 {
		if err := set.readLibrary(cfg); err != nil {
			return nil, err
		}
		if cfg.Playbooks.Dir != "" {
			paths = []string{cfg.Playbooks.Dir}
		}
	}
	seen := map[string]bool{} // by absolute paths
	var beside []string
	for _, path := range paths {
		if path == "-" {
			data, err := io.ReadAll(io.LimitReader(stdin, maxPlaybookBytes))
			if err != nil {
				return nil, fmt.Errorf("playbook from standard input: %w", err)
			}
			set.files = append(set.files, lint.File{Name: stdinName, Data: data})
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("playbook %w", notFound(err))
		}
		var files []lint.File
		if info.IsDir() {
			files, err = lint.Collect(os.DirFS(path), ".", func(name string) string { return filepath.Join(path, filepath.FromSlash(name)) })
			set.folders = append(set.folders, path)
		} else {
			files, err = readLintFile(path)
			beside = append(beside, filepath.Dir(path))
		}
		if err != nil {
			return nil, fmt.Errorf("playbook %w", err)
		}
		for _, f := range files {
			if absolute := absolutePath(f.Name); !seen[absolute] {
				set.files, seen[absolute] = append(set.files, f), true
			}
		}
	}
	return set, set.readNeighbours(beside, seen)
}

func absolutePath(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return filepath.Clean(path)
}

// indexOf finds a file by its name.
func (s *lintSet) indexOf(name string) (i int, found bool) {
	i = slices.IndexFunc(s.files, func(f lint.File) bool { return f.Name == name })
	return i, i >= 0
}

func (s *lintSet) readLibrary(cfg *config.Config) error {
	names := cfg.Playbooks.Library
	if slices.Contains(names, "all") {
		names = config.LibraryNames()
	}
	for _, name := range names {
		data, err := fs.ReadFile(library.FS, name+".yaml")
		if err != nil {
			return fmt.Errorf("%w: library playbook %q: %w", daemon.ErrConfig, name, err)
		}
		shown := "library/" + name + ".yaml"
		s.files, s.shipped[shown] = append(s.files, lint.File{Name: shown, Data: data}), true
	}
	return nil
}

func readLintFile(path string) ([]lint.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPlaybookBytes))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return []lint.File{{Name: path, Data: data, Folder: os.DirFS(filepath.Dir(path))}}, nil
}

// readNeighbours reads the playbooks beside files that were named one by one, when
// one of these may call them. Those that cannot be read are left out.
func (s *lintSet) readNeighbours(folders []string, seen map[string]bool) error {
	if !slices.ContainsFunc(s.files, func(f lint.File) bool { return bytes.Contains(f.Data, []byte("call:")) }) {
		return nil
	}
	slices.Sort(folders)
	for _, folder := range slices.Compact(folders) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return fmt.Errorf("playbook %w", err)
		}
		for _, entry := range entries {
			path := filepath.Join(folder, entry.Name())
			if entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || !playbooks.IsPlaybookFile(entry.Name()) || seen[absolutePath(path)] {
				continue
			}
			if files, err := readLintFile(path); err == nil {
				s.known = append(s.known, files...)
			}
		}
	}
	return nil
}

// fix corrects the files on disk and tells which.
func (s *lintSet) fix(w io.Writer, actions map[string]playbooks.Action) error {
	var own []lint.File
	for _, f := range s.files {
		if !s.shipped[f.Name] && (s.shown == nil || s.shown[f.Name]) {
			own = append(own, f)
		}
	}
	for _, fixed := range lint.Fix(own, append(slices.Clone(s.known), s.files...), actions) {
		if err := replaceFile(fixed.Name, fixed.Data); err != nil {
			return fmt.Errorf("fix %s: %w", fixed.Name, err)
		}
		fmt.Fprintf(w, "fixed %s\n", clean(fixed.Name))
		if i, found := s.indexOf(fixed.Name); found {
			s.files[i] = fixed
		}
	}
	return nil
}

func (s *lintSet) report(cmd *cobra.Command, format string, actions map[string]playbooks.Action) error {
	findings := slices.DeleteFunc(lint.Run(s.files, s.known, actions), func(f lint.Finding) bool { return !s.reports(f) })
	var names []string
	for _, f := range s.files {
		if s.shown == nil || s.shown[f.Name] || slices.ContainsFunc(findings, func(found lint.Finding) bool { return found.File == f.Name }) {
			names = append(names, f.Name)
		}
	}
	w := cmd.OutOrStdout()
	if err := lint.Write(w, format, findings, names, buildVersion()); err != nil {
		return err
	}
	mistakes := 0
	for _, f := range findings {
		if f.Level == lint.Error {
			mistakes++
		}
	}
	switch {
	case mistakes > 0:
		return &findingsError{mistakes, len(names)}
	case format != "human":
		return nil
	case len(findings) > 0:
		_, err := fmt.Fprintf(w, "\n%s: %s and no mistake\n", count(len(names), "playbook"), count(len(findings), "warning"))
		return err
	}
	_, err := fmt.Fprintf(w, "%s: good\n", count(len(names), "playbook"))
	return err
}

// replaceFile writes a file so that it is the old one or the new one whenever the
// machine stops. A link goes on leading to it, and it keeps its rights.
func replaceFile(path string, data []byte) (err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Chmod(info.Mode().Perm()), temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
