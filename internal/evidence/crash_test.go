package evidence

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// errCrash stands for the end of the process.
var errCrash = errors.New("crash")

// crashAt lets a process end before its nth change of the disk, and reports whether it
// came that far. From then on it changes nothing any more, whatever it defers.
func crashAt(s *Store, n int, do func() error) (crashed bool, err error) {
	made := 0
	s.disk.before = func(string, string) {
		if made++; made > n {
			panic(errCrash)
		}
	}
	defer func() {
		s.disk.before = nil
		if r := recover(); r != nil {
			if why, ok := r.(error); !ok || !errors.Is(why, errCrash) {
				panic(r)
			}
			crashed = true
		}
	}()
	return false, do()
}

// The process ends before every single change of the disk, of everything that is done
// with a carve: the next one goes on, nothing is told twice or not at all, and nothing is
// left over.
func TestCrashAtEveryChange(t *testing.T) {
	data := archiveOf(t, "tmp/evil")
	later := start.Add(1000 * time.Hour)
	two := int64(2)
	take := func(s *Store) error {
		m, err := s.Take(t.Context(), origin(session), int64(len(data)), byRun, sends(data))
		if err == nil && m.SHA256 != sumOf(data) {
			t.Errorf("manifest %+v", m)
		}
		return err
	}
	note := func(s *Store) error {
		_, err := s.Note(origin(session), Seen{"IN PROGRESS", &two, 4, 999}, byRun)
		return err
	}
	for _, tt := range []struct {
		name   string
		before func(s *Store) error
		do     func(s *Store) error
		state  string
		record []string // any of these
	}{
		{"note", nil, note, StateUnderWay, []string{"carved"}},
		{"stall", note, func(s *Store) error { return s.Stall(session, byRun, "nothing new") }, StateStalled, []string{"carved stalled"}},
		{"take", note, take, StateKept, []string{"carved downloaded checked", "carved downloaded checked downloaded checked"}},
		{"take by another run", take, func(s *Store) error {
			_, err := s.Take(t.Context(), origin(session), 0, Actor{Name: "0other/s", Run: 8}, sends(nil))
			return err
		}, StateKept, []string{"downloaded checked used"}},
		{"hand out", take, func(s *Store) error {
			_, err := s.Copy(t.Context(), session, io.Discard, nil, anna)
			return err
		}, StateKept, []string{"downloaded checked read", "downloaded checked read read"}},
		{"delete", take, func(s *Store) error {
			s.o.Keep, s.o.Now = time.Hour, func() time.Time { return later }
			return s.Sweep(t.Context())
		}, StateDeleted, []string{"downloaded checked deleted"}},
		{"take what was deleted", func(s *Store) error {
			err := take(s)
			s.o.Keep, s.o.Now = time.Hour, func() time.Time { return later }
			return errors.Join(err, s.Sweep(t.Context()))
		}, take, StateKept, []string{
			"downloaded checked deleted downloaded checked", "downloaded checked deleted downloaded checked downloaded checked",
		}},
	} {
		for _, recipients := range [][]string{nil, {key(t).Recipient().String()}} {
			crashes := 0
			for n := 0; ; n++ {
				dir := filepath.Join(t.TempDir(), "carves")
				s := open(t, dir, Options{Recipients: recipients})
				if tt.before != nil {
					if err := tt.before(s); err != nil {
						t.Fatal(err)
					}
				}
				crashed, err := crashAt(s, n, func() error { return tt.do(s) })
				if err != nil {
					t.Fatalf("%s, %d: %v", tt.name, n, err)
				}
				if !crashed {
					break
				}
				crashes++
				s = open(t, dir, Options{Recipients: recipients})
				if n%2 == 0 { // the daemon cleans up first, or does not come to it
					if err := s.Sweep(t.Context()); err != nil {
						t.Errorf("%s, %d: clean up: %v", tt.name, n, err)
					}
				}
				if err := tt.do(s); err != nil {
					t.Errorf("%s, %d: again: %v", tt.name, n, err)
				}
				r := whole(t, s, session)
				told := strings.ReplaceAll(kinds(t, s, session), " encrypted", "")
				if r.State != tt.state || !slices.Contains(tt.record, told) {
					t.Errorf("%s, %d: it is %s, record %q", tt.name, n, r.State, told)
				}
				if err := s.Sweep(t.Context()); err != nil {
					t.Errorf("%s, %d: clean up: %v", tt.name, n, err)
				}
				for path := range tree(t, dir) {
					switch name := filepath.Base(path); {
					case name == manifestName, name == custodyName, name == lockName:
					case name == progressName && (tt.state == StateUnderWay || tt.state == StateStalled):
					case strings.HasPrefix(name, session+".") && tt.state == StateKept:
					default:
						t.Errorf("%s, %d: %s was left", tt.name, n, path)
					}
				}
			}
			if crashes < 3 {
				t.Errorf("%s: only %d places to crash at", tt.name, crashes)
			}
		}
	}
}
