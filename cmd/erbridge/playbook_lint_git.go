package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	slashpath "path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/lint"
)

// changedSince limits the report to files that differ from a commit of git, or that
// git does not know yet, to playbooks of which a list does, and to what their change
// brings about elsewhere: a playbook that is called loses a variable, or is deleted. All files are looked at all the
// same: one that changed may get in the way of one that did not, and then it is the
// changed one that is reported, since it comes last.
func (s *lintSet) changedSince(ctx context.Context, ref string, actions map[string]playbooks.Action) error {
	if ref == "" || strings.HasPrefix(ref, "-") {
		return usagef("--changed-since %q: expected a commit, a tag or a branch", ref)
	}
	changes := map[string]change{}
	asked := map[string]bool{}
	ask := func(folder string) error {
		if asked[folder] {
			return nil
		}
		asked[folder] = true
		return gitChanges(ctx, folder, ref, changes)
	}
	for _, folder := range s.folders {
		if err := ask(realPath(folder)); err != nil {
			return err
		}
	}
	s.shown = map[string]bool{}
	read := map[string]bool{} // by their real paths
	for _, f := range s.files {
		if s.shipped[f.Name] {
			continue
		}
		path := realPath(f.Name)
		read[path] = true
		if err := ask(filepath.Dir(path)); err != nil {
			return err
		}
		isChanged := func(list string) bool {
			_, changed := changes[filepath.Join(filepath.Dir(path), filepath.FromSlash(list))]
			return changed
		}
		if isChanged(filepath.Base(path)) || slices.ContainsFunc(playbooks.ListFiles(f.Data), isChanged) {
			s.shown[f.Name] = true
		}
	}
	slices.SortStableFunc(s.files, func(a, b lint.File) int {
		switch {
		case s.shown[a.Name] == s.shown[b.Name]:
			return 0
		case s.shown[b.Name]:
			return -1
		}
		return 1
	})
	return s.readBefore(ctx, ref, changes, read, actions)
}

// readBefore notes what lint had to say at the commit, when the changed files were
// as they were.
func (s *lintSet) readBefore(ctx context.Context, ref string, changes map[string]change, read map[string]bool, actions map[string]playbooks.Action) error {
	var files, known []lint.File
	for _, f := range s.files {
		if !s.shown[f.Name] {
			files = append(files, f)
		}
	}
	for _, f := range s.known {
		if _, changed := changes[realPath(f.Name)]; !changed {
			known = append(known, f)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(changes)) {
		c := changes[path]
		if !c.old || strings.HasPrefix(filepath.Base(path), ".") || !playbooks.IsPlaybookFile(filepath.Base(path)) {
			continue
		}
		data, err := git(ctx, c.root, "cat-file", "blob", ref+":"+c.name)
		if err != nil {
			return fmt.Errorf("--changed-since %q: %w", ref, err)
		}
		old := lint.File{Name: path, Data: []byte(data), Folder: &gitFolder{ctx, c.root, ref, slashpath.Dir(c.name)}}
		if read[path] || slices.ContainsFunc(s.folders, func(folder string) bool { return isBelow(path, realPath(folder)) }) {
			files = append(files, old)
		} else {
			known = append(known, old)
		}
	}
	s.before = map[said]bool{}
	for _, f := range lint.Run(files, known, actions) {
		s.before[said{f.Position, f.Code, f.Message}] = true
	}
	return nil
}

// said is a finding, for comparison.
type said struct {
	at            registry.Position
	code, message string
}

// reports tells whether a finding is to be shown.
func (s *lintSet) reports(f lint.Finding) bool {
	return s.shown == nil || s.shown[f.File] || !s.before[said{f.Position, f.Code, f.Message}]
}

// change is a file that differs from a commit.
type change struct {
	root, name string // of the working tree, and of the file in it
	old        bool   // the commit has it too
}

// gitChanges adds the files below a folder that differ from a commit.
func gitChanges(ctx context.Context, folder, ref string, changes map[string]change) error {
	top, err := git(ctx, folder, "rev-parse", "--show-toplevel")
	if err != nil {
		return fmt.Errorf("--changed-since: %s: %w", folder, err)
	}
	root := strings.TrimRight(top, "\r\n")
	if _, err := git(ctx, folder, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}"); err != nil {
		return usagef("--changed-since %q: git knows no such commit, tag or branch", ref)
	}
	note := func(name string, old bool) {
		changes[filepath.Join(root, filepath.FromSlash(name))] = change{root, name, old}
	}
	differ, err := git(ctx, folder, "diff", "--name-status", "--no-renames", "--no-relative", "-z", "--end-of-options", ref, "--", ".")
	if err != nil {
		return fmt.Errorf("--changed-since %q: %w", ref, err)
	}
	for pair := range slices.Chunk(strings.Split(differ, "\x00"), 2) { // A, M, D or T, and a name
		if len(pair) == 2 {
			note(pair[1], pair[0] != "A")
		}
	}
	added, err := git(ctx, folder, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", ".")
	if err != nil {
		return fmt.Errorf("--changed-since %q: %w", ref, err)
	}
	for name := range strings.SplitSeq(added, "\x00") {
		if path := filepath.Join(root, filepath.FromSlash(name)); name != "" && changes[path].root == "" {
			note(name, false)
		}
	}
	return nil
}

// realPath is an absolute path without links, as far as there is a file.
func realPath(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	return path
}

func isBelow(path, folder string) bool {
	rest, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rest)
}

// git runs git in a folder. What a hook's environment says of the repository is left
// out: it is that of the hook, and folders are asked about one by one.
func git(ctx context.Context, folder string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", folder}, arguments...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}, name)
	})
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if _, ended := errors.AsType[*exec.ExitError](err); ended && stderr.Len() > 0 {
			return "", errors.New("git: " + strings.TrimSpace(stderr.String()))
		}
		return "", fmt.Errorf("git: %w", err)
	}
	return stdout.String(), nil
}
