package playbooks

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxPasses bounds how often a folder is read that changes all the time.
const maxPasses = 6

var errUnsteady = errors.New("the files change while they are read; reload again when that is over")

// textFile is a playbook file, or why it cannot be read.
type textFile struct {
	name string
	data []byte
	err  error
	// lists are the files of its lists. Two playbooks that name one file read it each
	// for itself.
	lists *listFiles
}

func (f textFile) equal(other textFile) bool {
	return f.name == other.name && fmt.Sprint(f.err) == fmt.Sprint(other.err) && bytes.Equal(f.data, other.data) && f.lists.equal(other.lists)
}

// snapshot reads all playbook files below root as they are at one moment. Editors
// write a new file and rename it, and mounted configuration swaps the link to a whole
// folder: what was read before such a change and what was read after it do not
// belong together. So everything is read until it is twice the same.
func snapshot(fsys fs.FS, root string) ([]textFile, error) {
	var last []textFile
	for pass := range maxPasses {
		files, err := readAll(fsys, root)
		if err != nil {
			return nil, err
		}
		if pass > 0 && slices.EqualFunc(files, last, textFile.equal) {
			return files, nil
		}
		last = files
	}
	return nil, errUnsteady
}

// readAll reads once.
func readAll(fsys fs.FS, root string) ([]textFile, error) {
	var files []textFile
	err := walkFiles(fsys, root, func(name string, entry fs.DirEntry, err error) error {
		file := textFile{name: name, err: err}
		if err == nil { // or it is a folder, which may have gone since
			switch {
			case !isPlaybookFile(path.Base(name)):
				return nil
			case len(files) >= maxPlaybooks:
				return fmt.Errorf("more than %d playbooks", maxPlaybooks)
			}
			file.data, file.err = readPlaybook(fsys, name)
			if errors.Is(file.err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink != 0 {
				file.err = fmt.Errorf("the link leads nowhere: %w", file.err)
			}
			file.lists = filesOfLists(folderOf(fsys, name), file.data)
		}
		files = append(files, file)
		return nil
	})
	return files, err
}

// readPlaybook reads a file, unless that could take for ever: a pipe waits for a writer.
func readPlaybook(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case info.Size() > maxWatchedBytes: // the parser has a lower limit and says it
		return nil, fmt.Errorf("%s has %d bytes", name, info.Size())
	}
	return fs.ReadFile(fsys, name)
}

// walkFiles calls each for every file below root, and for every folder that cannot be
// read. Hidden files and folders are left out, and so is what editors leave beside a
// file while they work on it. An error of root itself is returned.
func walkFiles(fsys fs.FS, root string, each func(name string, entry fs.DirEntry, err error) error) error {
	return walkLinked(fsys, root, false, each)
}

// walkLinked is walkFiles; of a root that is a link below another one, an error is one
// of a folder among others.
func walkLinked(fsys fs.FS, root string, linked bool, each func(name string, entry fs.DirEntry, err error) error) error {
	return fs.WalkDir(fsys, root, func(name string, entry fs.DirEntry, err error) error {
		base := path.Base(name)
		switch {
		case err != nil && name == root && !linked:
			return err
		case err != nil:
			return each(name, entry, err)
		case entry.IsDir() && name != root && strings.HasPrefix(base, "."):
			return fs.SkipDir
		case entry.IsDir() || leftover(base):
			return nil
		case entry.Type()&fs.ModeSymlink != 0 && mountedFolder(fsys, name):
			return walkLinked(fsys, name, true, each)
		}
		return each(name, entry, nil)
	})
}

// mountedFolder reports whether a link is one that Kubernetes makes for a folder of a
// mounted configuration: it leads through the link that is swapped. Other links to
// folders are not followed; they may lead to what is read already, or round in a circle.
func mountedFolder(fsys fs.FS, link string) bool {
	to, err := fs.ReadLink(fsys, link)
	if err != nil || !strings.HasPrefix(to, "..data/") {
		return false
	}
	info, err := fs.Stat(fsys, link)
	return err == nil && info.IsDir()
}
