package playbooks

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

const (
	// maxWatched bounds how many files of a folder are looked at.
	maxWatched = 10_000
	// maxWatchedBytes bounds what is read of one file; of a larger one, size and
	// times have to tell.
	maxWatchedBytes = 16 << 20
	// clockGrain is the coarsest clock that file systems stamp files with: 2s on FAT,
	// 1s on old NFS. Two writes within it may leave the same time behind.
	clockGrain = 3 * time.Second
	// rereadAfter is when contents are read although nothing tells of a change: for
	// systems that keep too little of a file's history to see that it was set back.
	rereadAfter = time.Minute
)

// Folder looks at a folder of playbooks again and again, and tells whether the files
// in it are other ones. It needs nothing of the file system but that files can be
// read: network mounts, mounted configuration and every editor are seen alike. It
// belongs to one goroutine.
type Folder struct {
	fsys  fs.FS
	now   func() time.Time
	files map[string]watched // as last seen
}

// watched is a file as it was last seen.
type watched struct {
	info  fs.FileInfo
	since time.Time // when info was first seen
	read  time.Time // when its content was last read
	sum   string    // of its content
}

// NewFolder makes a Folder for the files below a directory; it does not look yet.
// Now is a clock, of which only the differences count.
func NewFolder(dir string, now func() time.Time) *Folder { return newFolder(os.DirFS(dir), now) }

func newFolder(fsys fs.FS, now func() time.Time) *Folder {
	return &Folder{fsys: fsys, now: now, files: map[string]watched{}}
}

// Look names what is in the folder now: two looks that give the same name saw the
// same files with the same contents. What cannot be read, the folder itself too, is
// part of what was seen. Every file counts, playbook or not, that is not hidden.
// While nothing changes, this costs one stat for each file.
func (f *Folder) Look() string {
	seen := make(map[string]watched, len(f.files))
	all := sha256.New()
	err := walkFiles(f.fsys, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			note(all, name, err.Error())
			return nil
		}
		if len(seen) >= maxWatched {
			return fmt.Errorf("more than %d files", maxWatched)
		}
		file, err := f.look(name)
		if err != nil {
			note(all, name, err.Error())
			return nil
		}
		seen[name] = file
		note(all, name, file.sum)
		return nil
	})
	if err != nil {
		note(all, ".", err.Error())
	}
	f.files = seen
	return hex.EncodeToString(all.Sum(nil))
}

func note(h hash.Hash, name, what string) { fmt.Fprintf(h, "%q %q\n", name, what) }

// look sees one file: its content only if that may be another than the last time.
func (f *Folder) look(name string) (watched, error) {
	info, err := fs.Stat(f.fsys, name) // of what a link leads to
	if err != nil {
		return watched{}, err
	}
	now := f.now()
	file := watched{info: info, since: now}
	if last, known := f.files[name]; known && sameFile(last.info, info) {
		// What was read within the grain of a change may have been written to once
		// more since, without a trace. How our clock compares with that of the file
		// system does not matter: since is by ours.
		if last.read.Sub(last.since) >= clockGrain && now.Sub(last.read) < rereadAfter {
			return last, nil
		}
		file.since = last.since
	}
	file.read = now
	file.sum, err = f.sum(name, info)
	return file, err
}

// sum tells contents apart.
func (f *Folder) sum(name string, info fs.FileInfo) (string, error) {
	switch {
	case !info.Mode().IsRegular(): // opening a pipe would wait for its writer
		return info.Mode().Type().String(), nil
	case info.Size() > maxWatchedBytes:
		return fmt.Sprint(info.Size(), info.ModTime().UnixNano(), changeTime(info)), nil
	}
	file, err := f.fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(file, maxWatchedBytes)); err != nil {
		return "", err
	}
	return string(h.Sum(nil)), nil
}

// sameFile reports whether nothing tells of a change between two looks at a name. A
// tool may set the time of writing back; the time of change it cannot.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.Mode() == b.Mode() && a.ModTime().Equal(b.ModTime()) && changeTime(a) == changeTime(b)
}

// leftover reports whether a file is hidden, or is one that editors leave beside a
// file while they work on it: x.yaml~, .x.yaml.swp, .#x.yaml, #x.yaml#.
func leftover(base string) bool {
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "#") || strings.HasSuffix(base, "~")
}
