package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/erbridge/erbridge/internal/soar"
)

// Fetch writes an archive to w while it arrives. After an error, what was written is
// thrown away.
type Fetch func(ctx context.Context, w io.Writer) error

// Take fetches an archive into the folder, unless it is there already, and returns its
// manifest. told is the length that the server tells, 0 if it tells none.
//
// The archive gets its name when all of it is on disk, then it is recorded, and the
// manifest comes last: after a crash at any moment the next Take begins anew, or finds
// it complete. An archive that is there is handed out as it is, once its hash has been
// checked, and that of another run is recorded as used by this one.
//
// An error wrapping ErrTooLarge says that it will never be taken, ErrBusy that somebody
// else is at it, ErrChanged that what is in the folder is not what was downloaded.
func (s *Store) Take(ctx context.Context, origin Origin, told int64, by Actor, fetch Fetch) (*Manifest, error) {
	session := origin.Session
	if err := validSession(session); err != nil {
		return nil, err
	}
	if err := s.makeFolder(session); err != nil {
		return nil, err
	}
	unlock, err := s.lock(session, false)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := s.taken(ctx, origin, by)
	if m != nil || err != nil {
		return m, err
	}
	p := &Progress{Origin: origin, Seen: Seen{Size: told}, Changed: s.o.Now().UTC()}
	if err := s.admit(p, by); err != nil {
		return nil, err
	}
	if err := s.clear(session); err != nil {
		return nil, fmt.Errorf("folder of carve %s: %w", session, err)
	}
	m, err = s.download(ctx, origin, told, by, fetch)
	switch {
	case errors.Is(err, ErrTooLarge):
		return nil, s.refuse(p, by, err)
	case err != nil:
		s.metrics.count(outcomeBroken)
		return nil, err
	case m.Kind == KindUnknown:
		s.metrics.count(outcomeUnknown)
	default:
		s.metrics.count(outcomeKept)
	}
	return m, nil
}

// taken returns the manifest of an archive that is complete; nil: there is none.
func (s *Store) taken(ctx context.Context, origin Origin, by Actor) (*Manifest, error) {
	m, err := s.manifest(origin.Session)
	if errors.Is(err, soar.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(m.Host, origin.Host) {
		return nil, fmt.Errorf("carve %s of host %s: the folder holds one of host %s under this name; move %s away", origin.Session, origin.Host, m.Host, s.folder(m.Session))
	}
	if deleted, err := s.deleted(m.Session); deleted || err != nil {
		return nil, err
	}
	if err := s.checkStored(ctx, m); err != nil {
		return nil, err
	}
	if m.Mark != by.Name {
		if err := s.record(m.Session, by, Entry{What: Used, SHA256: m.SHA256, Bytes: m.Bytes}); err != nil {
			return nil, err
		}
	}
	return m, s.disk.remove(s.in(m.Session, progressName)) // a crash may have left it
}

// clear removes what a crash has left in a folder: parts, and an archive without a
// manifest, which nobody has seen.
func (s *Store) clear(session string) error { return s.removeAll(session, partPrefix, session+".") }

func (s *Store) clearParts(session string) error { return s.removeAll(session, partPrefix) }

// removeAll removes the files of a carve whose names begin in one of these ways.
func (s *Store) removeAll(session string, prefixes ...string) error {
	entries, err := os.ReadDir(s.folder(session))
	problems := []error{err}
	for _, e := range entries {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(e.Name(), prefix) }) {
			problems = append(problems, s.disk.remove(s.in(session, e.Name())))
		}
	}
	return errors.Join(problems...)
}

// download fetches an archive. The folder is locked.
func (s *Store) download(ctx context.Context, origin Origin, told int64, by Actor, fetch Fetch) (*Manifest, error) {
	session := origin.Session
	m := &Manifest{Origin: origin, Recipients: slices.Clone(s.o.Recipients)}
	part, err := s.disk.create(s.folder(session), func(w io.Writer) error { return s.intake(ctx, m, w, fetch) })
	if err != nil {
		return nil, fmt.Errorf("download carve %s: %w", session, err)
	}
	name := session + "." + m.Kind
	if len(m.Recipients) > 0 {
		name += ".age"
	}
	m.File = s.in(session, name)
	if told > 0 && told != m.Bytes {
		m.Remarks = append(m.Remarks, fmt.Sprintf("the server told of %d bytes, and sent %d", told, m.Bytes))
	}
	if err := s.disk.rename(part, m.File); err != nil {
		return nil, err
	}
	// The manifest of one that was deleted since does not speak of this one, which may be
	// encrypted otherwise. Once the record tells of this one, it is not there any more.
	if err := s.disk.remove(s.in(session, manifestName)); err != nil {
		return nil, err
	}
	m.DownloadedAt = s.o.Now().UTC()
	if err := s.record(session, by, m.entries()...); err != nil {
		return nil, err
	}
	if err := s.disk.writeJSON(s.in(session, manifestName), m); err != nil {
		return nil, fmt.Errorf("manifest of carve %s: %w", session, err)
	}
	// From here on it is complete.
	return m, s.disk.remove(s.in(session, progressName))
}

// entries are what the record tells of a download.
func (m *Manifest) entries() []Entry {
	_, stored := m.stored()
	seen := m.Kind
	if m.Broken != "" {
		seen += "; " + m.Broken
	}
	for _, remark := range m.Remarks {
		seen += "; " + remark
	}
	entries := []Entry{
		{What: Downloaded, Text: m.Path + " from " + m.Host, Bytes: m.Bytes, SHA256: m.SHA256, Stored: stored},
		{What: Checked, Text: seen, Bytes: m.Bytes, SHA256: m.SHA256},
	}
	if len(m.Recipients) > 0 {
		entries = append(entries, Entry{What: Encrypted, Text: "to " + strings.Join(m.Recipients, ", "), Stored: stored})
	}
	return entries
}

// intake passes an archive on to the disk: counted, hashed, looked into and, with
// recipients, encrypted, all while it arrives.
func (s *Store) intake(ctx context.Context, m *Manifest, disk io.Writer, fetch Fetch) (err error) {
	stored := &tally{to: disk, sum: sha256.New()}
	var target io.Writer = stored
	var sealed io.WriteCloser
	if len(s.recipients) > 0 {
		if sealed, err = age.Encrypt(stored, s.recipients...); err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		target = sealed
	}
	piped, pipe := io.Pipe()
	seen := make(chan contents, 1)
	go func() { seen <- look(piped) }()
	plain := &tally{to: io.MultiWriter(target, pipe), sum: sha256.New(), limit: s.o.MaxBytes}
	// Whatever happens, the one who looks comes to an end, and is waited for.
	var c contents
	func() {
		defer func() {
			err = errors.Join(err, pipe.Close())
			c = <-seen
		}()
		err = fetch(ctx, plain)
	}()
	s.metrics.downloaded.Add(float64(plain.bytes))
	if plain.full {
		return fmt.Errorf("more than %d bytes came (actions.max_carve_bytes): %w", s.o.MaxBytes, ErrTooLarge)
	}
	if err != nil {
		return err
	}
	if sealed != nil {
		if err := sealed.Close(); err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		m.StoredBytes, m.StoredSHA256 = stored.bytes, stored.hex()
	}
	m.Bytes, m.SHA256, m.Kind, m.Files = plain.bytes, plain.hex(), c.kind, c.names
	m.Broken = c.broken
	return nil
}

// tally counts and hashes what passes by, and refuses more than limit; 0 is no limit.
type tally struct {
	to    io.Writer
	sum   hash.Hash
	bytes int64
	limit int64
	full  bool
}

func (t *tally) Write(p []byte) (int, error) {
	if t.limit > 0 && t.bytes+int64(len(p)) > t.limit {
		t.full = true
		return 0, ErrTooLarge
	}
	n, err := t.to.Write(p)
	t.bytes += int64(n)
	t.sum.Write(p[:n]) // hash.Hash returns no errors
	return n, err
}

func (t *tally) hex() string { return hex.EncodeToString(t.sum.Sum(nil)) }

// makeFolder makes the folder of a carve, and the one that all of them are in.
func (s *Store) makeFolder(session string) error {
	err := s.disk.mkdir(s.dir)
	if err == nil {
		err = s.disk.mkdir(s.folder(session))
	}
	if err != nil {
		return fmt.Errorf("folder of carve %s: %w", session, err)
	}
	return nil
}

// lock takes the folder of a carve, or ErrBusy. Those who only read share it.
func (s *Store) lock(session string, shared bool) (unlock func(), err error) {
	f, err := os.OpenFile(s.in(session, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("folder of carve %s: %w", session, err)
	}
	if err := lockFile(f, shared, false); err != nil {
		return nil, errors.Join(fmt.Errorf("carve %s: %w", session, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // nothing was written
}
