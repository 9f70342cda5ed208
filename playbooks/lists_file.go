package playbooks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/registry"
)

// Bounds of the files that the lists of one playbook stand in, together.
const (
	maxListBytes = 4 << 20
	maxListItems = 100_000
	maxListLinks = 40 // that are followed on the way to a file
)

// listFile is what a list's file holds, or why it cannot be read.
type listFile struct {
	items []string
	err   error
	hint  string
}

func (f listFile) equal(other listFile) bool {
	return fmt.Sprint(f.err) == fmt.Sprint(other.err) && slices.Equal(f.items, other.items)
}

// listFiles are the files that the lists of one playbook stand in. Each is read once.
type listFiles struct {
	folder fs.FS               // of the playbook; nil: none is read but those in read
	read   map[string]listFile // by the name that the playbook gives
	bytes  int
	items  int
}

func newListFiles(folder fs.FS) *listFiles {
	return &listFiles{folder: folder, read: map[string]listFile{}}
}

var (
	errNoFolder    = errors.New("a list can stand in a file only where the playbook does")
	errOutside     = errors.New("the file lies outside of the playbook's folder")
	errHidden      = errors.New("hidden files are left out")
	errNoPlainFile = errors.New("not a plain file")
	errManyLinks   = errors.New("too many links")
)

// open reads a file by the name that a playbook gives, relative to its own folder.
func (f *listFiles) open(name string) listFile {
	if file, ok := f.read[name]; ok {
		return file
	}
	var file listFile
	var data []byte
	if data, file.err = f.bytesOf(name); file.err == nil {
		file.items, file.err = listLines(data)
	}
	f.bytes, f.items = f.bytes+len(data), f.items+len(file.items)
	if file.err == nil && f.items > maxListItems {
		file = listFile{err: fmt.Errorf("the lists of a playbook may have %d lines in all", maxListItems)}
	}
	switch {
	case file.err == nil:
	case errors.Is(file.err, errOutside):
		file.hint = "put it beside the playbook, or below"
	case errors.Is(file.err, errNoFolder):
		file.hint = "write the items into the playbook"
	}
	if file.err != nil {
		file.err = fmt.Errorf("list file %q: %w", name, file.err)
	}
	f.read[name] = file
	return file
}

func (f *listFiles) bytesOf(name string) ([]byte, error) {
	if f.folder == nil {
		return nil, errNoFolder
	}
	place, err := resolve(f.folder, name)
	if err != nil {
		return nil, withoutPath(err)
	}
	info, err := fs.Stat(f.folder, place)
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case !info.Mode().IsRegular(): // a pipe would never end
		return nil, errNoPlainFile
	}
	file, err := f.folder.Open(place)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer file.Close()
	left := maxListBytes - f.bytes
	data, err := io.ReadAll(io.LimitReader(file, int64(left)+1))
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case len(data) > left:
		return nil, fmt.Errorf("the lists of a playbook may have %d MiB in all", maxListBytes>>20)
	}
	return data, nil
}

// withoutPath takes the name out of an error, which names the file already: the
// playbooks of a folder and those of a revision then have the same words.
func withoutPath(err error) error {
	if perr, ok := errors.AsType[*fs.PathError](err); ok {
		return perr.Err
	}
	return err
}

// resolve follows the links on the way to a file and returns where it lies in the
// folder. An error wrapping errOutside means that it lies elsewhere. Whoever can
// change links between this and the reading can change the playbooks too.
func resolve(folder fs.FS, name string) (string, error) {
	if path.IsAbs(name) || strings.Contains(name, `\`) || !fs.ValidPath(path.Clean(name)) {
		return "", errOutside
	}
	place, rest := ".", strings.Split(path.Clean(name), "/")
	if slices.ContainsFunc(rest, func(part string) bool { return part != "." && leftover(part) }) {
		return "", errHidden // nobody would notice that it changes
	}
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch {
		case part == "" || part == ".":
			continue
		case part == ".." && place == ".":
			return "", errOutside
		case part == "..":
			place = path.Dir(place)
			continue
		}
		next := path.Join(place, part)
		info, err := fs.Lstat(folder, next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			place = next
			continue
		}
		if links++; links > maxListLinks {
			return "", errManyLinks
		}
		target, err := fs.ReadLink(folder, next)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) || strings.Contains(target, `\`) {
			return "", errOutside
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return place, nil
}

// listLines are the items of a file: one on each line. What follows a # at the start
// of a line or after a blank is a comment; blanks around an item and empty lines do
// not count.
func listLines(data []byte) ([]string, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var items []string
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("line %d is not UTF-8 text", number)
		}
		item := strings.TrimSpace(withoutComment(string(line)))
		if item == "" {
			continue
		}
		if strings.ContainsFunc(item, unicode.IsControl) {
			return nil, fmt.Errorf("line %d holds a control character", number)
		}
		if len(items) == maxListItems {
			return nil, fmt.Errorf("the lists of a playbook may have %d lines in all", maxListItems)
		}
		items = append(items, item)
	}
	return items, nil
}

func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

func (f *listFiles) equal(other *listFiles) bool {
	return f == other || f != nil && other != nil && maps.EqualFunc(f.read, other.read, listFile.equal)
}

// folderOf is the folder of a file.
func folderOf(fsys fs.FS, name string) fs.FS {
	folder, err := fs.Sub(fsys, path.Dir(name))
	if err != nil {
		return nil // of a name that is none, which cannot be opened either
	}
	return folder
}

// filesOfLists reads the files that the lists of a playbook name, so that they are
// read at the same moment as the playbook.
func filesOfLists(folder fs.FS, data []byte) *listFiles {
	files := newListFiles(folder)
	for _, name := range ListFiles(data) {
		files.open(name)
	}
	return files
}

// ListFiles names the files that the lists of a playbook stand in, relative to its
// folder, as far as the text can be read.
func ListFiles(data []byte) (names []string) {
	if !bytes.Contains(data, []byte("lists")) || !bytes.Contains(data, []byte("file")) {
		return nil
	}
	root, problems := registry.Parse("", data)
	if problems != nil {
		return nil
	}
	for key, lists := range registry.Pairs(root) {
		if key.Value != "lists" {
			continue
		}
		for _, list := range registry.Pairs(lists) {
			for key, name := range registry.Pairs(list) {
				if key.Value == "file" && len(names) < maxLists {
					names = append(names, name.Value)
				}
			}
		}
	}
	return names
}
