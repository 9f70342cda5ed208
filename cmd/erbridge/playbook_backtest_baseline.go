package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/library"
)

// isShipped reports whether a playbook is one of the binary, and not one that stands
// in a folder of that name.
func isShipped(pb *playbooks.Playbook) bool {
	name, inside := strings.CutPrefix(pb.File, "library/")
	data, err := fs.ReadFile(library.FS, name)
	return inside && err == nil && bytes.Equal(data, pb.Source)
}

// playbooksIn reads a playbook, or those of a folder.
func playbooksIn(place string, known map[string]playbooks.Action) ([]*playbooks.Playbook, error) {
	info, err := os.Stat(place)
	if err != nil {
		return nil, notFound(err)
	}
	if info.IsDir() {
		set, problems := playbooks.LoadDir(place, known, shipped(known)...)
		return set.Playbooks(), problems.Err()
	}
	pb, problems, err := readPlaybook(place, known)
	if err != nil {
		return nil, err
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return []*playbooks.Playbook{pb}, linkCalled(pb, filepath.Dir(place), known)
}

// shipped are the playbooks of the binary, which others may call.
func shipped(known map[string]playbooks.Action) (list []*playbooks.Playbook) {
	for _, name := range config.LibraryNames() {
		if pb, err := libraryPlaybook(name, known); err == nil {
			list = append(list, pb)
		}
	}
	_ = playbooks.Link(list) // they are tested
	return list
}

// playbooksAt reads the playbooks of a folder as they were in a commit of git. In a
// folder that was not there, there were none.
func playbooksAt(ctx context.Context, folder, ref string, known map[string]playbooks.Action) (list []*playbooks.Playbook, err error) {
	if ref == "" || strings.HasPrefix(ref, "-") {
		return nil, usagef("git:%s: expected a commit, a tag or a branch", ref)
	}
	if folder == "" {
		return nil, nil
	}
	if _, err := git(ctx, folder, "rev-parse", "--show-toplevel"); err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	if _, err := git(ctx, folder, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}"); err != nil {
		return nil, usagef("git:%s: git knows no such commit, tag or branch", ref)
	}
	names, err := git(ctx, folder, "ls-tree", "-r", "-z", "--name-only", ref, "--", ".")
	if err != nil {
		return nil, err
	}
	var problems registry.Problems
	for name := range strings.SplitSeq(names, "\x00") {
		if name == "" || inHidden(name) || !playbooks.IsPlaybookFile(path.Base(name)) {
			continue
		}
		data, err := git(ctx, folder, "show", ref+":./"+name)
		if err != nil {
			return nil, err
		}
		pb, more := playbooks.ParseIn(&gitFolder{ctx, folder, ref, path.Dir(name)}, ref+":"+filepath.Join(folder, filepath.FromSlash(name)), []byte(data), known)
		problems = append(problems, more...)
		if pb != nil {
			list = append(list, pb)
		}
	}
	if len(problems) == 0 {
		problems = playbooks.Link(list, shipped(known)...)
	}
	if err := problems.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("the playbooks of %s", ref), err)
	}
	return list, nil
}

// inHidden reports whether a file, or a folder on the way to it, begins with a dot.
func inHidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.Contains(name, "/.")
}
