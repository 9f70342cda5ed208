package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/playbooks/lint"
)

// changedSince limits the report to files that differ from a commit of git, or that
// git does not know yet. All files are looked at all the same: one that changed may
// get in the way of one that did not, and then it is the changed one that is
// reported, since it comes last.
func (s *lintSet) changedSince(ctx context.Context, ref string) error {
	if strings.HasPrefix(ref, "-") {
		return usagef("--changed-since %q: expected a commit, a tag or a branch", ref)
	}
	changed, asked := map[string]bool{}, map[string]bool{}
	s.shown = map[string]bool{}
	for _, f := range s.files {
		if s.shipped[f.Name] {
			continue
		}
		path, err := filepath.Abs(f.Name)
		if err != nil {
			return err
		}
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			path = resolved
		}
		if folder := filepath.Dir(path); !asked[folder] {
			asked[folder] = true
			if err := gitChanges(ctx, folder, ref, changed); err != nil {
				return err
			}
		}
		if changed[path] {
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
	return nil
}

// gitChanges adds the files below a folder that differ from a commit.
func gitChanges(ctx context.Context, folder, ref string, changed map[string]bool) error {
	top, err := git(ctx, folder, "rev-parse", "--show-toplevel")
	if err != nil {
		return fmt.Errorf("--changed-since: %s: %w", folder, err)
	}
	root := strings.TrimRight(top, "\r\n")
	if _, err := git(ctx, folder, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}"); err != nil {
		return usagef("--changed-since %q: git knows no such commit, tag or branch", ref)
	}
	differ, err := git(ctx, folder, "diff", "--name-only", "--no-renames", "--no-relative", "-z", "--end-of-options", ref, "--", ".")
	if err != nil {
		return fmt.Errorf("--changed-since %q: %w", ref, err)
	}
	added, err := git(ctx, folder, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", ".")
	if err != nil {
		return fmt.Errorf("--changed-since %q: %w", ref, err)
	}
	for name := range strings.SplitSeq(differ+added, "\x00") {
		if name != "" {
			changed[filepath.Join(root, filepath.FromSlash(name))] = true
		}
	}
	return nil
}

func git(ctx context.Context, folder string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", folder}, arguments...)...)
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
