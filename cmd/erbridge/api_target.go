package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// target is where an answer goes: standard output, or a file that is there once it
// is whole and not before.
type target struct {
	io.Writer
	path  string   // of the file; empty for standard output
	temp  *os.File // in the folder of the file
	force bool
}

// openTarget opens the target before anything is sent: an answer to a call with an
// effect that cannot be written would be lost.
func openTarget(cmd *cobra.Command, path string, force bool) (*target, error) {
	if path == "" || path == "-" {
		return &target{Writer: cmd.OutOrStdout()}, nil
	}
	switch info, err := os.Lstat(path); {
	case err == nil && info.IsDir():
		return nil, usagef("--output %s: is a folder", path)
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return nil, usagef("--output %s: is a link; name the file itself, or leave --output out for standard output", path)
	case err == nil && !info.Mode().IsRegular():
		// A file put in its place would take a device or a pipe away from everybody.
		return nil, usagef("--output %s: is not an ordinary file; without --output the answer goes to standard output", path)
	case err == nil && !force:
		return nil, usagef("--output %s: exists already; --force replaces it", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, usagef("--output: %v", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".erbridge-*") // has mode 0600
	if err != nil {
		if cause, ok := errors.AsType[*fs.PathError](err); ok {
			err = cause.Err // the name of the file that was tried tells nobody anything
		}
		return nil, usagef("--output %s: no file can be made in the folder %s: %v", path, filepath.Dir(path), err)
	}
	return &target{Writer: temp, path: path, temp: temp, force: force}, nil
}

// commit puts the file in its place.
func (t *target) commit() error {
	if t.temp == nil {
		return nil
	}
	err := t.temp.Sync()
	if err = errors.Join(err, t.temp.Close()); err != nil {
		return fmt.Errorf("--output %s: %w", t.path, err)
	}
	if t.force {
		err = os.Rename(t.temp.Name(), t.path)
	} else {
		// A rename would replace a file that came into being meanwhile.
		err = linkOrRename(t.temp.Name(), t.path)
	}
	if err != nil {
		return fmt.Errorf("--output %s: %w", t.path, err)
	}
	t.temp = nil
	return nil
}

// linkOrRename moves a file to where none is. Not every file system has links.
func linkOrRename(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
		return os.Remove(from)
	case errors.Is(err, fs.ErrExist):
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// drop removes what was not committed.
func (t *target) drop() {
	if t.temp != nil {
		_ = t.temp.Close() // closed already if commit came so far
		_ = os.Remove(t.temp.Name())
	}
}

// toTerminal reports whether a person sees what is written.
func (t *target) toTerminal() bool { return t.path == "" && isTerminal(t.Writer) }

// terminalWriter makes text from outside harmless to a terminal, line by line.
type terminalWriter struct {
	w    io.Writer
	line []byte // not ended yet
}

func (t *terminalWriter) Write(p []byte) (int, error) {
	t.line = append(t.line, p...)
	for {
		at := bytes.IndexByte(t.line, '\n')
		if at < 0 && len(t.line) < 64<<10 {
			return len(p), nil
		}
		end := at
		if at < 0 {
			end = len(t.line)
			for end > 0 && !utf8.RuneStart(t.line[end-1]) {
				end-- // a character may not be whole yet
			}
			if end = max(end-1, 0); end == 0 {
				end = len(t.line)
			}
		}
		if _, err := io.WriteString(t.w, clean(string(bytes.TrimSuffix(t.line[:end], []byte("\r"))))); err != nil {
			return 0, err
		}
		if at < 0 {
			t.line = append(t.line[:0], t.line[end:]...)
			return len(p), nil
		}
		if _, err := io.WriteString(t.w, "\n"); err != nil {
			return 0, err
		}
		t.line = append(t.line[:0], t.line[at+1:]...)
	}
}

// flush writes a last line that has no end.
func (t *terminalWriter) flush() error {
	if len(t.line) == 0 {
		return nil
	}
	_, err := t.Write([]byte("\n"))
	return err
}
