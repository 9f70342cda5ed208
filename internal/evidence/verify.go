package evidence

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"filippo.io/age"
)

// Report is what a look at a carve found.
type Report struct {
	Item
	Custody Custody `json:"custody"`
	// Problems are what is wrong; none: everything is as it was downloaded.
	Problems []string `json:"problems,omitempty"`
}

// Verify compares archive, manifest and record of custody with one another. What is
// wrong is in the report; an error says that it could not be looked at.
func (s *Store) Verify(ctx context.Context, session string) (r Report, err error) {
	if r.Item, err = s.Get(session); err != nil {
		return r, err
	}
	if r.Custody, err = s.Custody(session); err != nil {
		if !errors.Is(err, ErrChanged) {
			return r, err
		}
		r.Problems = append(r.Problems, err.Error())
	}
	if r.Custody.Torn {
		r.Problems = append(r.Problems, "record of custody: the last line has no end: a crash came in between, or somebody cut it off")
	}
	if r.SHA256 == "" {
		return r, nil // there never was an archive
	}
	bytes, sum := r.stored()
	switch e := r.Custody.last(Downloaded); {
	case e == nil && len(r.Custody.Entries) > 0:
		r.Problems = append(r.Problems, "the record of custody does not tell of the download")
	case e != nil && (e.SHA256 != r.SHA256 || e.Bytes != r.Bytes || e.Stored != sum):
		r.Problems = append(r.Problems, fmt.Sprintf("the manifest tells of SHA-256 %s, and the record of custody of %s, when it was downloaded", r.SHA256, e.SHA256))
	}
	switch r.State {
	case StateMissing:
		r.Problems = append(r.Problems, "the archive is missing, and no record tells that it was deleted")
	case StateKept:
		err := s.compare(ctx, s.archive(&r.Manifest), bytes, sum)
		if err != nil && !errors.Is(err, ErrChanged) {
			return r, err
		}
		if err != nil {
			r.Problems = append(r.Problems, err.Error())
		}
	}
	return r, nil
}

// checkStored compares an archive with its manifest.
func (s *Store) checkStored(ctx context.Context, m *Manifest) error {
	bytes, sum := m.stored()
	err := s.compare(ctx, s.archive(m), bytes, sum)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w, and no record tells that it was deleted: %w", ErrGone, ErrChanged)
	}
	if err != nil {
		return fmt.Errorf("carve %s: %w; erbridge carves show %s tells more; to download it anew, move %s away", m.Session, err, m.Session, s.folder(m.Session))
	}
	return nil
}

// compare reads a file and compares it with what it should be.
func (s *Store) compare(ctx context.Context, path string, bytes int64, sum string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return compare(ctx, f, bytes, sum)
}

func compare(ctx context.Context, r io.Reader, bytes int64, sum string) error {
	t := &tally{to: io.Discard, sum: sha256.New()}
	if _, err := io.Copy(t, until(ctx, r)); err != nil {
		return err
	}
	if t.bytes != bytes || t.hex() != sum {
		return fmt.Errorf("the archive has %d bytes and SHA-256 %s, and had %d and %s: it was %w", t.bytes, t.hex(), bytes, sum, ErrChanged)
	}
	return nil
}

// Copy hands an archive out, after its hash was checked and the record tells to whom
// and why. With identities it is decrypted on the way, and the hash of what comes out is
// checked, too; without, an encrypted one is handed out as it is. After an error, what
// was written is not the archive.
func (s *Store) Copy(ctx context.Context, session string, w io.Writer, keys *Identities, by Actor) (*Manifest, error) {
	item, err := s.Get(session)
	if err != nil {
		return nil, err
	}
	m := &item.Manifest
	switch item.State {
	case StateKept, StateMissing:
	case StateDeleted:
		return nil, fmt.Errorf("carve %s: %w: retention has deleted it", session, ErrGone)
	default:
		return nil, fmt.Errorf("carve %s: %w: it is %s", session, ErrGone, item.State)
	}
	if keys != nil && len(m.Recipients) == 0 {
		return nil, fmt.Errorf("carve %s is not encrypted: it is handed out without an identity", session)
	}
	unlock, err := s.lock(session, true)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// The one that is checked is the one that is handed out.
	f, err := os.Open(s.archive(m))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("carve %s: %w", session, ErrGone)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bytes, sum := m.stored()
	if err := compare(ctx, f, bytes, sum); err != nil {
		return nil, fmt.Errorf("carve %s: %w", session, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var from io.Reader = f
	if keys != nil {
		if from, err = age.Decrypt(f, keys.list...); err != nil {
			return nil, fmt.Errorf("carve %s: none of the identities can decrypt it; it is encrypted to %v", session, m.Recipients)
		}
		bytes, sum = m.Bytes, m.SHA256
	}
	// Told before the first byte is out, so that nobody has it unrecorded.
	text := "as it is on disk"
	if keys != nil {
		text = "decrypted"
	}
	if err := s.record(session, by, Entry{What: Read, Text: text, SHA256: m.SHA256}); err != nil {
		return nil, err
	}
	if err := compare(ctx, io.TeeReader(from, w), bytes, sum); err != nil {
		return nil, fmt.Errorf("carve %s: %w", session, err)
	}
	return m, nil
}

// until stops reading when the context ends.
func until(ctx context.Context, r io.Reader) io.Reader { return &bounded{ctx, r} }

type bounded struct {
	ctx context.Context
	r   io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, context.Cause(b.ctx)
	}
	return b.r.Read(p)
}
