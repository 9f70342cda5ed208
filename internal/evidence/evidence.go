// Package evidence keeps what was carved from hosts: one folder for each carve, with
// the archive, a manifest that tells where it came from, and a record of custody that
// tells who had it in hands since.
//
// The record is only ever added to, and each entry has the hash of the one before in
// its own, so that a changed archive, manifest or record is found. An archive may be
// encrypted on its way to the disk. What a crash leaves behind is completed or cleaned
// up by whoever comes next; several processes may use one folder at a time.
package evidence

import (
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
	"time"

	"filippo.io/age"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

// Errors that a caller can act on.
var (
	// ErrTooLarge means that an archive is larger than Options.MaxBytes. Nothing of it
	// was kept.
	ErrTooLarge = errors.New("larger than the configured limit")
	// ErrBusy means that somebody else works on this carve now: another run downloads
	// it, or somebody reads it.
	ErrBusy = errors.New("somebody else is working on it")
	// ErrChanged means that what is on disk is not what was downloaded.
	ErrChanged = errors.New("changed since it was downloaded")
	// ErrGone means that the archive of a carve is not in the folder any more.
	ErrGone = errors.New("its archive is not in the folder")
)

// Options are what a store needs besides its folder. The zero value keeps everything,
// in the clear.
type Options struct {
	// MaxBytes bounds one archive; zero is 2 GiB.
	MaxBytes int64
	// Recipients are public keys of age (age1...). With any, archives are encrypted to
	// all of them, and are on disk in no other way.
	Recipients []string
	// Keep is how long archives are kept; zero is for ever.
	Keep time.Duration
	// MaxTotal bounds what all archives take on disk; zero is no bound.
	MaxTotal int64
	// InUse reports whether a run has not ended yet; what it carved is kept. nil: none is.
	InUse func(ctx context.Context, run soar.RunID) (bool, error)
	// Log gets what retention does; nil discards it.
	Log *slog.Logger
	// Registerer gets the metrics.
	Registerer prometheus.Registerer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Store is a folder of carves. It is safe for concurrent use, also by several
// processes.
type Store struct {
	dir        string
	o          Options
	recipients []age.Recipient
	metrics    *metrics
	disk       disk
}

// New makes a store. It touches nothing; the folder comes with the first carve.
func New(dir string, o Options) (*Store, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = 2 << 30
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	recipients, err := parseRecipients(o.Recipients)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Store{dir: dir, o: o, recipients: recipients, metrics: m}, nil
}

// MaxBytes is the bound of one archive.
func (s *Store) MaxBytes() int64 { return s.o.MaxBytes }

// Actor is who does something with a carve, and why.
type Actor struct {
	Name string     // a user, or the mark of a step
	Run  soar.RunID // the run, if it is one
	Why  string
}

// Origin is where a carve comes from.
type Origin struct {
	// Session is the server's id of the carve.
	Session string `json:"session"`
	// Host is the identifier of the host.
	Host string `json:"host"`
	// Path is where the file was on the host.
	Path string `json:"path"`
	// Alert is the alert on whose behalf it was taken.
	Alert string `json:"alert"`
	// Mark names the run and the step that took it.
	Mark string `json:"mark"`
	// CarvedAt is when the carve began.
	CarvedAt time.Time `json:"carved_at"`
}

// Manifest tells what is known of an archive. It lies beside it as manifest.json, and
// comes last: a folder with a manifest is complete.
type Manifest struct {
	Origin
	// File is the archive.
	File string `json:"file"`
	// Bytes and SHA256 are of the archive as the server sent it.
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	// StoredBytes and StoredSHA256 are of the file on disk, where it is encrypted.
	StoredBytes  int64  `json:"stored_bytes,omitempty"`
	StoredSHA256 string `json:"stored_sha256,omitempty"`
	// Recipients can decrypt it; none: it is not encrypted.
	Recipients []string `json:"recipients,omitempty"`
	// Kind is tar or zst, as its first bytes say, or unknown.
	Kind string `json:"kind"`
	// Files are the names in the archive, the first hundred.
	Files []string `json:"files,omitempty"`
	// Broken says why it is no whole archive, as far as it was looked into.
	Broken string `json:"broken,omitempty"`
	// Remarks are what else is odd about it.
	Remarks []string `json:"remarks,omitempty"`
	// DownloadedAt is when all of it was here.
	DownloadedAt time.Time `json:"downloaded_at"`
}

// Doubts are why an archive may not be all that there was; none: it is whole.
func (m *Manifest) Doubts() []string {
	doubts := slices.Clone(m.Remarks)
	if m.Broken != "" {
		doubts = append(doubts, m.Broken)
	}
	return doubts
}

// stored is length and hash of the file on disk.
func (m *Manifest) stored() (bytes int64, sha256 string) {
	if m.StoredSHA256 != "" {
		return m.StoredBytes, m.StoredSHA256
	}
	return m.Bytes, m.SHA256
}

// The states of a carve in the folder.
const (
	StateUnderWay = "under way" // the host is sending it, or it is being downloaded
	StateStalled  = "stalled"   // its host has stopped sending it
	StateRefused  = "refused"   // it is too large
	StateKept     = "kept"      // its archive is here
	StateDeleted  = "deleted"   // retention has removed its archive
	StateMissing  = "missing"   // its archive should be here
)

// Item is a carve in the folder.
type Item struct {
	State string `json:"state"`
	Manifest
	// Progress is how far it is, as long as it is under way.
	Progress *Progress `json:"progress,omitempty"`
}

const (
	manifestName = "manifest.json"
	custodyName  = "custody.jsonl"
	progressName = "progress.json"
	lockName     = ".lock"
	partPrefix   = ".part-"
)

func (s *Store) folder(session string) string { return filepath.Join(s.dir, session) }

func (s *Store) in(session, name string) string { return filepath.Join(s.dir, session, name) }

// archive is the path of an archive. The manifest may be from before the folder moved.
func (s *Store) archive(m *Manifest) string { return s.in(m.Session, filepath.Base(m.File)) }

// validSession guards the name of a folder: sessions are ten letters and digits.
func validSession(session string) error {
	if session == "" || len(session) > 64 || strings.ContainsFunc(session, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return fmt.Errorf("carve session %q: expected letters and digits", session)
	}
	return nil
}

// manifest reads the manifest of a carve. Without one, it is soar.ErrNotFound.
func (s *Store) manifest(session string) (*Manifest, error) {
	if err := validSession(session); err != nil {
		return nil, err
	}
	var m Manifest
	if err := readJSON(s.in(session, manifestName), &m); err != nil {
		return nil, fmt.Errorf("manifest of carve %s: %w", session, err)
	}
	if m.Session != session || m.File == "" {
		return nil, fmt.Errorf("manifest of carve %s is of another carve, %q: %w", session, m.Session, ErrChanged)
	}
	return &m, nil
}

// Get reads what is known of a carve. One that the folder knows nothing of is
// soar.ErrNotFound.
func (s *Store) Get(session string) (Item, error) {
	if err := validSession(session); err != nil {
		return Item{}, fmt.Errorf("%w: %w", soar.ErrNotFound, err)
	}
	progress, err := s.readProgress(session)
	if err != nil {
		return Item{}, err
	}
	m, err := s.manifest(session)
	switch {
	case errors.Is(err, soar.ErrNotFound) && progress != nil:
		return Item{State: progress.state(), Manifest: Manifest{Origin: progress.Origin}, Progress: progress}, nil
	case err != nil:
		return Item{}, err
	}
	item := Item{State: StateKept, Manifest: *m}
	_, err = os.Stat(s.archive(m))
	deleted, lookErr := s.deleted(session)
	switch {
	case lookErr != nil:
		return Item{}, lookErr
	case deleted && progress != nil:
		item.State, item.Progress = progress.state(), progress
	case deleted:
		item.State = StateDeleted
	case errors.Is(err, fs.ErrNotExist):
		item.State = StateMissing
	case err != nil:
		return Item{}, err
	}
	return item, nil
}

// List reads what is known of all carves, the newest first. What cannot be read is in
// the error; the others are listed all the same.
func (s *Store) List() (items []Item, err error) {
	sessions, err := s.sessions()
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, session := range sessions {
		item, err := s.Get(session)
		switch {
		case errors.Is(err, soar.ErrNotFound): // a folder of which a crash left only the beginning
		case err != nil:
			problems = append(problems, err)
		default:
			items = append(items, item)
		}
	}
	slices.SortStableFunc(items, func(a, b Item) int { return b.began().Compare(a.began()) })
	return items, errors.Join(problems...)
}

// began is when a carve began, as well as it is known.
func (i *Item) began() time.Time {
	if i.CarvedAt.IsZero() {
		return i.DownloadedAt
	}
	return i.CarvedAt
}

// sessions are the folders that may hold a carve.
func (s *Store) sessions() (names []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.IsDir() && validSession(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// maxJSON bounds what is read of a manifest: its maxNames names of maxName bytes are less.
const maxJSON = 8 << 20

func readJSON(path string, into any) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return soar.ErrNotFound
	}
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJSON))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
