package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// gitFolder is a folder as it was in a commit of git, for the files of lists that stand
// beside a playbook. It knows files and links, and lists no folders.
type gitFolder struct {
	ctx    context.Context //nolint:containedctx // fs.FS takes none
	dir    string          // on the disk, where git is asked
	ref    string
	folder string // below dir
}

// Lstat knows the kind of a file.
func (g *gitFolder) Lstat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return gitFile{name: name, mode: fs.ModeDir}, nil
	}
	line, err := git(g.ctx, g.dir, "ls-tree", "-z", "--long", g.ref, "--", "./"+path.Join(g.folder, name))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(line) // mode, type, object, size, and the name
	if len(fields) < 4 {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: syscall.ENOENT}
	}
	file := gitFile{name: path.Base(name)}
	file.size, _ = strconv.ParseInt(fields[3], 10, 64) // - for a folder
	switch {
	case fields[0] == "120000":
		file.mode = fs.ModeSymlink
	case fields[1] == "tree":
		file.mode = fs.ModeDir
	case fields[1] != "blob": // another repository
		file.mode = fs.ModeIrregular
	}
	return file, nil
}

// ReadLink tells where a link leads to.
func (g *gitFolder) ReadLink(name string) (string, error) {
	return git(g.ctx, g.dir, "show", g.ref+":./"+path.Join(g.folder, name))
}

// Stat is Lstat: links are followed by those who ask.
func (g *gitFolder) Stat(name string) (fs.FileInfo, error) { return g.Lstat(name) }

// Open reads a file.
func (g *gitFolder) Open(name string) (fs.File, error) {
	info, err := g.Lstat(name)
	if err != nil {
		return nil, err
	}
	text, err := git(g.ctx, g.dir, "show", g.ref+":./"+path.Join(g.folder, name))
	if err != nil {
		return nil, err
	}
	return gitOpened{io.NopCloser(bytes.NewReader([]byte(text))), info}, nil
}

// gitFile is what git knows of a file.
type gitFile struct {
	name string
	size int64
	mode fs.FileMode
}

func (f gitFile) Name() string       { return f.name }
func (f gitFile) Size() int64        { return f.size }
func (f gitFile) Mode() fs.FileMode  { return f.mode }
func (f gitFile) ModTime() time.Time { return time.Time{} }
func (f gitFile) IsDir() bool        { return f.mode.IsDir() }
func (f gitFile) Sys() any           { return nil }

type gitOpened struct {
	io.ReadCloser
	info fs.FileInfo
}

func (f gitOpened) Stat() (fs.FileInfo, error) { return f.info, nil }
