package sinks

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// FileSettings configures a file sink.
type FileSettings struct {
	// Path is the file to append to, one event on each line. Its folder must exist.
	// Rotated files stand beside it, with their time in the name: events.ndjson becomes
	// events-20261122T053033.000Z.ndjson.
	Path string `yaml:"path" required:"true" path:"true"`

	FormatSettings `yaml:",inline"`

	// MaxBytes rotates the file before it grows beyond this size; 0 means never.
	MaxBytes int64 `yaml:"max_bytes"`

	// MaxAge rotates the file when it was begun this long ago and something is
	// to be written; 0 means never.
	MaxAge time.Duration `yaml:"max_age"`

	// Keep is how many rotated files stay; 0 means all.
	Keep int `yaml:"keep"`

	// Gzip compresses rotated files.
	Gzip bool `yaml:"gzip"`
}

// Check implements Checker.
func (s *FileSettings) Check(report func(setting, hint, format string, args ...any)) {
	if s.Path == "" || strings.HasSuffix(s.Path, string(filepath.Separator)) {
		report("path", "for example /var/log/erbridge/events.ndjson", "expected the path of a file")
	}
	if s.MaxBytes < 0 {
		report("max_bytes", "", "expected 0 or more")
	}
	if s.Keep < 0 {
		report("keep", "", "expected 0 or more")
	}
	s.checkFormat(report)
}

func init() {
	Types.Add("file", Type{
		Summary:  "Appends events to a file, one on each line, rotated by size and age.",
		Settings: &FileSettings{FormatSettings: FormatSettings{Format: "json"}, MaxBytes: 100 << 20, MaxAge: 24 * time.Hour, Keep: 14},
		Example:  "type: file\npath: /var/log/erbridge/events.ndjson\nkeep: 30\ngzip: true\n",
		MaxBatch: 1000,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			s := &file{settings: *settings.(*FileSettings), log: env.Log, state: env.State, now: env.Now}
			if s.settings.Format == "" {
				s.settings.Format = "json"
			}
			var err error
			if s.format, err = s.settings.formatter(format.Options{Version: env.Version}); err != nil {
				return nil, err
			}
			if s.log == nil {
				s.log = slog.New(slog.DiscardHandler)
			}
			if s.now == nil {
				s.now = time.Now
			}
			return s, nil
		},
	})
}

const (
	fileMode = 0o640
	// rotatedTime is the time in a rotated file's name; names sort by it.
	rotatedTime = "20060102T150405.000Z"
	// startedKey is where State keeps when the current file was begun. File
	// systems tell when a file was changed, and not portably when it was created.
	startedKey = "started"

	lockInterval = 20 * time.Millisecond
	lockPatience = 10 * time.Second
)

type file struct {
	settings FileSettings
	format   format.Formatter
	log      *slog.Logger
	state    State // nil: the age of a file starts anew when it is opened
	now      func() time.Time

	f       *os.File
	size    int64
	started time.Time
}

// Send appends the batch and returns after it is on disk. A batch that cannot be
// written as a whole is taken back, so that it leaves no half line.
func (s *file) Send(ctx context.Context, events []soar.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var out bytes.Buffer
	lines, refused := formatEach(s.format, events)
	for _, line := range lines {
		if line != nil {
			out.Write(line)
			out.WriteByte('\n')
		}
	}
	if out.Len() == 0 { // nothing can be written, or there is nothing to write
		return refusedAlone(refused, len(events))
	}
	if err := s.acquire(ctx); err != nil {
		return fmt.Errorf("file %s: %w", s.settings.Path, errors.Join(classifyFile(err), s.Close()))
	}
	err := s.write(ctx, out.Bytes())
	if s.f != nil {
		err = errors.Join(err, unlockFile(s.f))
	}
	if err != nil {
		return fmt.Errorf("file %s: %w", s.settings.Path, classifyFile(err))
	}
	return refusedAlone(refused, len(events))
}

// refusedAlone is the error of a batch of which some items have no form in a format,
// and the others are delivered.
func refusedAlone(refused map[int]error, n int) error {
	switch {
	case len(refused) == 0:
		return nil
	case n == 1:
		return refused[0]
	}
	return &PartialError{Permanent: refused}
}

func (s *file) write(ctx context.Context, lines []byte) error {
	if s.due(int64(len(lines))) {
		if err := s.rotate(ctx); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	return s.append(lines)
}

// Close closes the file. What was delivered is on disk already.
func (s *file) Close() error {
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}

func (s *file) append(lines []byte) error {
	_, err := s.f.WriteAt(lines, s.size)
	if err == nil {
		err = s.f.Sync()
	}
	if err == nil {
		s.size += int64(len(lines))
		return nil
	}
	// After a failed fsync nobody knows what of the file is on disk, and asking
	// again answers yes without writing. So: cut, close, and look anew next time.
	return errors.Join(err, s.f.Truncate(s.size), s.Close())
}

// acquire makes s.f the file that the path names, locked and ending with a whole
// line. Somebody else may have moved it away, or another sink (a test of this one
// opens a second) may have written to it.
func (s *file) acquire(ctx context.Context) error {
	for {
		opened := s.f == nil
		if opened {
			if err := s.open(); err != nil {
				return err
			}
		}
		if err := s.lock(ctx); err != nil {
			return err
		}
		ours, err := s.f.Stat()
		if err != nil {
			return err
		}
		if there, err := os.Stat(s.settings.Path); err != nil || !os.SameFile(ours, there) {
			if err := s.Close(); err != nil {
				return err
			}
			continue // not our file any more
		}
		if !opened && ours.Size() == s.size {
			return nil
		}
		if err := s.adopt(ctx); err != nil {
			return err
		}
		if opened {
			s.tidy(ctx)
		}
		return nil
	}
}

func (s *file) open() error {
	if info, err := os.Stat(s.settings.Path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%w: not a regular file", ErrConfig)
	}
	f, err := os.OpenFile(s.settings.Path, os.O_RDWR|os.O_CREATE, fileMode)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: folder %s does not exist; create it, writable for the user that erbridge runs as",
			ErrConfig, filepath.Dir(s.settings.Path))
	}
	s.f = f
	return err
}

// lock waits a moment for another writer to finish its batch.
func (s *file) lock(ctx context.Context) error {
	for waited := time.Duration(0); ; waited += lockInterval {
		taken, err := lockFile(s.f)
		if err != nil || !taken {
			return err
		}
		if waited >= lockPatience {
			return errors.New("another process is writing to it")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockInterval):
		}
	}
}

// adopt looks at a file that was just opened or has changed.
func (s *file) adopt(ctx context.Context) (err error) {
	if s.size, err = repair(s.f, s.settings.Format, s.log); err != nil {
		return err
	}
	if s.size == 0 {
		if err := s.begin(ctx); err != nil {
			return err
		}
		return syncDir(filepath.Dir(s.settings.Path))
	}
	s.started = s.now()
	if s.state == nil {
		return nil
	}
	text, err := s.state.Get(ctx, startedKey)
	if errors.Is(err, soar.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		s.started = at
	}
	return nil
}

func (s *file) begin(ctx context.Context) error {
	s.started = s.now()
	if s.state == nil {
		return nil
	}
	return s.state.Set(ctx, startedKey, s.started.UTC().Format(time.RFC3339), 0)
}

// jsonForms are the formats that are one JSON object.
var jsonForms = map[string]bool{"json": true, "ecs": true, "ocsf": true, "cim": true, "asim": true, "udm": true}

// repair makes a file end with a whole line and returns its size. A crash while
// a batch is written leaves a torn line, or zeros where the file system had
// booked the space and not the content. That batch was not acknowledged and
// comes again, so the torn line is cut off; one that lacks only its end is kept. Of a
// form that is no JSON nobody can tell whether a line is torn, or even ours: it gets
// an end, and its events come again behind it.
func repair(f *os.File, form string, log *slog.Logger) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	start, err := lastLine(f, size)
	if err != nil || start == size {
		return size, err
	}
	const maxLine = 16 << 20
	tail := make([]byte, min(size-start, maxLine))
	if _, err := f.ReadAt(tail, start); err != nil {
		return 0, err
	}
	switch {
	case int64(len(tail)) == size-start && json.Valid(tail), tail[0] != 0 && !jsonForms[form]:
		if _, err := f.WriteAt([]byte{'\n'}, size); err != nil {
			return 0, err
		}
		size++
	case tail[0] == '{' || tail[0] == 0: // zeros are nobody's text
		log.Warn("torn last line cut off, its events come again", "path", f.Name(), "bytes", size-start)
		if err := f.Truncate(start); err != nil {
			return 0, err
		}
		size = start
	default:
		return 0, fmt.Errorf("%w: the file does not end like one of erbridge's; move it away", ErrConfig)
	}
	return size, f.Sync()
}

// lastLine finds where the unfinished last line begins; size when there is none.
func lastLine(f *os.File, size int64) (int64, error) {
	block := make([]byte, 64<<10)
	for end := size; end > 0; {
		n := min(end, int64(len(block)))
		if _, err := f.ReadAt(block[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(block[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// due reports whether the file must be rotated before so many bytes are added.
func (s *file) due(more int64) bool {
	if s.size == 0 {
		return false
	}
	tooLarge := s.settings.MaxBytes > 0 && s.size+more > s.settings.MaxBytes
	tooOld := s.settings.MaxAge > 0 && s.now().Sub(s.started) >= s.settings.MaxAge
	return tooLarge || tooOld
}

// rotate moves the file aside and begins a new one. The old one is on disk as a
// whole; a crash after the rename leaves no current file, which the next start creates.
func (s *file) rotate(ctx context.Context) error {
	path := s.settings.Path
	at := s.now().UTC()
	aside := s.rotatedName(at)
	for exists(aside) || exists(aside+".gz") { // twice in a millisecond, or a clock that was set back
		at = at.Add(time.Millisecond)
		aside = s.rotatedName(at)
	}
	if err := os.Rename(path, aside); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	return s.acquire(ctx)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (s *file) rotatedName(at time.Time) string {
	ext := filepath.Ext(s.settings.Path)
	return strings.TrimSuffix(s.settings.Path, ext) + "-" + at.Format(rotatedTime) + ext
}

// tidy compresses and removes rotated files. It also finishes what a crash left
// half done. Nothing here is needed for delivery, so a failure is only logged.
func (s *file) tidy(ctx context.Context) {
	rotated, err := s.rotated()
	if err != nil {
		s.log.Warn("rotated files cannot be listed", "path", s.settings.Path, "err", err)
		return
	}
	if s.settings.Keep > 0 && len(rotated) > s.settings.Keep {
		for _, old := range rotated[:len(rotated)-s.settings.Keep] {
			if err := os.Remove(old); err != nil {
				s.log.Warn("rotated file cannot be removed", "path", old, "err", err)
			}
		}
		rotated = rotated[len(rotated)-s.settings.Keep:]
	}
	if !s.settings.Gzip {
		return
	}
	for _, path := range rotated {
		if strings.HasSuffix(path, ".gz") {
			continue
		}
		if err := compress(ctx, path); err != nil {
			s.log.Warn("rotated file cannot be compressed, it stays as it is", "path", path, "err", err)
		}
	}
}

// rotated lists the files that rotate made, oldest first. Only names that carry a
// time count: nothing else in the folder is ours to delete.
func (s *file) rotated() ([]string, error) {
	ext := filepath.Ext(s.settings.Path)
	dir, prefix := filepath.Split(strings.TrimSuffix(s.settings.Path, ext) + "-")
	if dir == "" {
		dir = "."
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		at, found := strings.CutPrefix(e.Name(), prefix)
		at, ours := strings.CutSuffix(strings.TrimSuffix(at, ".gz"), ext)
		if _, err := time.Parse(rotatedTime, at); found && ours && err == nil && e.Type().IsRegular() {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}

// compress replaces a file by its gzip. The result has its name only once it is
// complete and on disk; an older half-done one is overwritten.
func compress(ctx context.Context, path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	temporary := path + ".gz.tmp"
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary))
		}
	}()
	packed := gzip.NewWriter(out)
	_, err = io.Copy(packed, contextReader{ctx, in})
	if err = errors.Join(err, packed.Close()); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err = os.Rename(temporary, path+".gz"); err != nil {
		return err
	}
	return errors.Join(os.Remove(path), syncDir(filepath.Dir(path)))
}

// contextReader ends a long copy when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// syncDir puts names in a folder on disk: fsync of a file does not do that.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// classifyFile tells mistakes that a person must mend from a full disk, which
// passes.
func classifyFile(err error) error {
	if errors.Is(err, ErrConfig) {
		return err
	}
	for _, mistake := range []error{fs.ErrPermission, syscall.EROFS, syscall.ENOTDIR, syscall.ENAMETOOLONG} {
		if errors.Is(err, mistake) {
			return fmt.Errorf("%w: %w; the user that erbridge runs as must be able to write there", ErrConfig, err)
		}
	}
	return err
}
