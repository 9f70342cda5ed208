package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// What can happen to a carve.
const (
	Carved     = "carved"     // the server began to receive it
	Stalled    = "stalled"    // its host stopped sending it
	Refused    = "refused"    // it was not downloaded
	Downloaded = "downloaded" // its archive is here
	Checked    = "checked"    // hash, length and first bytes were looked at
	Encrypted  = "encrypted"  // on its way to the disk
	Used       = "used"       // by another run, which found it here
	Read       = "read"       // handed out to somebody
	Deleted    = "deleted"    // its archive was removed from the folder
	Removed    = "removed"    // from the server
)

// Entry is one line of a record of custody.
type Entry struct {
	Seq  int64      `json:"seq"`
	At   time.Time  `json:"at"`
	What string     `json:"what"`
	By   string     `json:"by"`
	Run  soar.RunID `json:"run,omitempty"`
	Why  string     `json:"why,omitempty"`
	// Text says more.
	Text string `json:"text,omitempty"`
	// Bytes and SHA256 are of the archive as the server sent it, Stored is the hash of
	// the file on disk.
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Stored string `json:"stored_sha256,omitempty"`
	// Prev is the hash of the entry before.
	Prev string `json:"prev,omitempty"`
}

// same reports whether two entries tell the same, so that what a crash makes happen
// twice is told once.
func (e Entry) same(o Entry) bool {
	e.Seq, e.At, e.Prev = o.Seq, o.At, o.Prev
	return e == o
}

// Custody is what a record of custody tells.
type Custody struct {
	Entries []Entry `json:"entries"`
	// Head is number and hash of the last entry: who noted it elsewhere can tell
	// whether the record was cut off or written anew.
	Head string `json:"head,omitempty"`
	// Torn is set when the last line has no end, as a crash leaves it. It is left out.
	Torn bool `json:"torn,omitempty"`
}

// last is the newest entry that tells one of these; nil: none does.
func (c *Custody) last(what ...string) *Entry {
	for i := len(c.Entries) - 1; i >= 0; i-- {
		for _, w := range what {
			if c.Entries[i].What == w {
				return &c.Entries[i]
			}
		}
	}
	return nil
}

// A line is {"entry":ENTRY,"hash":"HASH"}: the hash is that of the bytes of ENTRY, so
// that no byte of a line can change unnoticed.
const (
	lineStart  = `{"entry":`
	lineMiddle = `,"hash":"`
	lineEnd    = `"}`
)

func line(e *Entry) (text []byte, hash string, err error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, "", err
	}
	hash = hashOf(body)
	return fmt.Appendf(nil, "%s%s%s%s%s\n", lineStart, body, lineMiddle, hash, lineEnd), hash, nil
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// parseLine takes a line apart, without its end.
func parseLine(text []byte) (e Entry, hash string, err error) {
	rest, starts := bytes.CutPrefix(text, []byte(lineStart))
	rest, ends := bytes.CutSuffix(rest, []byte(lineEnd))
	at := len(rest) - 2*sha256.Size
	if !starts || !ends || at < len(lineMiddle) || !bytes.HasSuffix(rest[:at], []byte(lineMiddle)) {
		return e, "", errors.New("it is not a line of this record")
	}
	body, hash := rest[:at-len(lineMiddle)], string(rest[at:])
	if hashOf(body) != hash {
		return e, hash, errors.New("content and hash do not belong together")
	}
	return e, hash, json.Unmarshal(body, &e)
}

// maxCustody bounds a record; an entry has a few hundred bytes.
const maxCustody = 64 << 20

// readCustody reads a record as far as it is whole. An error wrapping ErrChanged names
// the first line that is not.
func readCustody(r io.Reader) (c Custody, whole int, err error) {
	data, err := io.ReadAll(io.LimitReader(r, maxCustody))
	switch {
	case err != nil:
		return c, 0, err
	case len(data) == maxCustody: // cut off here, it would be taken for torn, and cut off there
		return c, 0, fmt.Errorf("record of custody: longer than %d bytes: move the folder of the carve away", maxCustody)
	}
	prev := ""
	for n := int64(1); len(data) > 0; n++ {
		text, rest, ended := bytes.Cut(data, []byte("\n"))
		if !ended {
			c.Torn = true
			return c, whole, nil
		}
		e, hash, err := parseLine(text)
		switch {
		case err != nil:
		case e.Seq != n:
			err = fmt.Errorf("it is entry %d: lines are missing, or were put in", e.Seq)
		case e.Prev != prev:
			err = errors.New("it does not follow the line before")
		}
		if err != nil {
			return c, whole, fmt.Errorf("record of custody: line %d: %w: %w", n, ErrChanged, err)
		}
		c.Entries = append(c.Entries, e)
		whole += len(text) + 1
		prev, data = hash, rest
		c.Head = fmt.Sprintf("%d:%s", e.Seq, hash)
	}
	return c, whole, nil
}

// Custody reads the record of a carve and checks its chain. Without any record, it is
// empty: carves from before there were records have none.
func (s *Store) Custody(session string) (Custody, error) {
	if err := validSession(session); err != nil {
		return Custody{}, err
	}
	f, err := os.Open(s.in(session, custodyName))
	if errors.Is(err, fs.ErrNotExist) {
		return Custody{}, nil
	}
	if err != nil {
		return Custody{}, err
	}
	defer f.Close()
	c, _, err := readCustody(f)
	if err != nil {
		err = fmt.Errorf("carve %s: %w", session, err)
	}
	return c, err
}

// deleted reports whether the record says that the archive was removed. One that was
// changed says what it still says.
func (s *Store) deleted(session string) (bool, error) {
	c, err := s.Custody(session)
	if err != nil && !errors.Is(err, ErrChanged) {
		return false, err
	}
	e := c.last(Downloaded, Deleted)
	return e != nil && e.What == Deleted, nil
}

// record adds entries to the record of a carve, in one write. Those that it ends with
// already are not told twice. The folder is there.
func (s *Store) record(session string, by Actor, entries ...Entry) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("record of custody of carve %s: %w", session, err)
		}
	}()
	path := s.in(session, custodyName)
	_, statErr := os.Stat(path)
	s.disk.about("open record", path)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := lockFile(f, false, true); err != nil {
		return err
	}
	before, whole, err := readCustody(f)
	if errors.Is(err, ErrChanged) {
		// Whoever changed it does not get rid of what comes after: it goes on behind the
		// last line, and the broken one stays for everybody to see.
		return s.extend(f, by, entries)
	}
	if err != nil {
		return err
	}
	// A line without an end was never there for anybody: the crash came before the sync.
	text, err := s.lines(before, by, entries)
	if err != nil || len(text) == 0 {
		return err
	}
	s.disk.about("append", path)
	if before.Torn {
		err = f.Truncate(int64(whole))
	}
	if err == nil {
		_, err = f.WriteAt(text, int64(whole))
	}
	if err == nil {
		s.disk.about("sync", path)
		err = f.Sync()
	}
	if err == nil && statErr != nil {
		err = s.disk.syncDir(s.folder(session))
	}
	return err
}

// lines are entries in the form of the record.
func (s *Store) lines(before Custody, by Actor, entries []Entry) (text []byte, err error) {
	seq, prev := int64(len(before.Entries)), ""
	if _, hash, ok := strings.Cut(before.Head, ":"); ok {
		prev = hash
	}
	tail := before.Entries[max(0, len(before.Entries)-len(entries)):]
	for i := range entries {
		entries[i].By, entries[i].Run, entries[i].Why = by.Name, by.Run, by.Why
	}
	if len(tail) == len(entries) {
		again := true
		for i, e := range entries {
			again = again && e.What != Read && e.same(tail[i])
		}
		if again {
			return nil, nil
		}
	}
	for _, e := range entries {
		seq++
		e.Seq, e.At, e.Prev = seq, s.o.Now().UTC(), prev
		one, hash, err := line(&e)
		if err != nil {
			return nil, err
		}
		text, prev = append(text, one...), hash
	}
	return text, nil
}

// extend adds entries behind a record that was changed.
func (s *Store) extend(f *os.File, by Actor, entries []Entry) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCustody))
	if err != nil {
		return err
	}
	text := []byte{}
	if !bytes.HasSuffix(data, []byte("\n")) {
		text = append(text, '\n')
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	before := Custody{Entries: make([]Entry, len(lines)), Head: "0:" + hashOf(lines[len(lines)-1])}
	if _, hash, err := parseLine(lines[len(lines)-1]); err == nil {
		before.Head = "0:" + hash
	}
	more, err := s.lines(before, by, entries)
	if err != nil {
		return err
	}
	s.disk.about("append", f.Name())
	if _, err := f.WriteAt(append(text, more...), int64(len(data))); err != nil {
		return err
	}
	return f.Sync()
}
