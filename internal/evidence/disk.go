package evidence

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// disk makes the changes in the folder. before is told of each one before it is made;
// only the test that stops in between sets it.
type disk struct{ before func(change, path string) }

func (d disk) about(change, path string) {
	if d.before != nil {
		d.before(change, path)
	}
}

// mkdir makes a folder, and makes that last.
func (d disk) mkdir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	d.about("mkdir", path)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

// create writes a new file under a name of its own, syncs it and returns its name. With
// an error there is no file.
func (d disk) create(dir string, write func(io.Writer) error) (name string, err error) {
	d.about("create", dir)
	f, err := os.CreateTemp(dir, partPrefix+"*")
	if err != nil {
		return "", err
	}
	if err = write(&watchedFile{f, d}); err == nil {
		d.about("sync", f.Name())
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// watchedFile tells of each write.
type watchedFile struct {
	*os.File
	d disk
}

func (w *watchedFile) Write(p []byte) (int, error) {
	w.d.about("write", w.Name())
	return w.File.Write(p)
}

// rename moves a file to its final name and makes that last through a power loss.
func (d disk) rename(from, to string) error {
	d.about("rename", to)
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(to))
}

func (d disk) remove(path string) error {
	d.about("remove", path)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

func (d disk) syncDir(path string) error {
	d.about("sync folder", path)
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// writeJSON replaces a file by a value.
func (d disk) writeJSON(path string, value any) error {
	part, err := d.create(filepath.Dir(path), func(w io.Writer) error {
		data, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return err
		}
		_, err = w.Write(append(data, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	return d.rename(part, path)
}
