package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

func kept(t *testing.T, o Options) *Store {
	t.Helper()
	s := open(t, t.TempDir(), o)
	if _, err := s.Take(t.Context(), origin(session), 0, byRun, sends(archiveOf(t, "tmp/evil"))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Copy(t.Context(), session, io.Discard, nil, anna); err != nil {
		t.Fatal(err)
	}
	return s
}

// Whatever byte of a record is changed, it is found, and the line is named.
func TestFlippedByteOfARecord(t *testing.T) {
	s := kept(t, Options{})
	path := s.in(session, custodyName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		for _, mask := range []byte{1, 0x20} {
			changed := bytes.Clone(data)
			changed[i] ^= mask
			c, _, err := readCustody(bytes.NewReader(changed))
			last := i == len(data)-1 // without its end, a line counts as torn
			if !last && !errors.Is(err, ErrChanged) || last && !c.Torn {
				t.Fatalf("byte %d ^ %#x of %q: %v", i, mask, data, err)
			}
		}
	}
	// A line that is gone, twice there, or put elsewhere.
	lines := bytes.SplitAfter(data, []byte("\n"))
	for name, mixed := range map[string][][]byte{
		"first gone": lines[1:], "middle gone": slices.Concat(lines[:1], lines[2:]), "twice": slices.Concat(lines[:1], lines), "swapped": {lines[1], lines[0], lines[2]},
	} {
		if _, _, err := readCustody(bytes.NewReader(bytes.Join(mixed, nil))); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChangedEvidence(t *testing.T) {
	flip := func(t *testing.T, path string) {
		data, err := os.ReadFile(path)
		if err == nil {
			data[len(data)/2] ^= 1
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		change  func(t *testing.T, s *Store, m *Manifest)
		problem string
		copied  error
	}{
		"archive": {func(t *testing.T, _ *Store, m *Manifest) { flip(t, m.File) }, "it was changed since it was downloaded", ErrChanged},
		"archive cut off": {func(t *testing.T, _ *Store, m *Manifest) {
			if err := os.Truncate(m.File, 512); err != nil {
				t.Fatal(err)
			}
		}, "has 512 bytes", ErrChanged},
		"archive gone": {func(t *testing.T, _ *Store, m *Manifest) {
			if err := os.Remove(m.File); err != nil {
				t.Fatal(err)
			}
		}, "no record tells that it was deleted", ErrGone},
		"archive and manifest": {func(t *testing.T, s *Store, m *Manifest) {
			flip(t, m.File)
			data, err := os.ReadFile(m.File)
			if err != nil {
				t.Fatal(err)
			}
			m.SHA256 = sumOf(data)
			if err := s.disk.writeJSON(s.in(session, manifestName), m); err != nil {
				t.Fatal(err)
			}
		}, "the manifest tells of SHA-256", nil},
		"record": {func(t *testing.T, s *Store, _ *Manifest) { flip(t, s.in(session, custodyName)) }, "record of custody: line 2", nil},
		"record cut off": {func(t *testing.T, s *Store, _ *Manifest) {
			data, err := os.ReadFile(s.in(session, custodyName))
			if err == nil {
				err = os.WriteFile(s.in(session, custodyName), data[:len(data)-10], 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "the last line has no end", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := kept(t, Options{})
			m, err := s.manifest(session)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(t, s, m)
			r, err := s.Verify(t.Context(), session)
			if err != nil || !strings.Contains(strings.Join(r.Problems, "\n"), tt.problem) {
				t.Errorf("problems %q: %v", r.Problems, err)
			}
			var out bytes.Buffer
			if _, err := s.Copy(t.Context(), session, &out, nil, anna); !errors.Is(err, tt.copied) || tt.copied != nil && out.Len() > 0 {
				t.Errorf("handed out %d bytes: %v", out.Len(), err)
			}
			if name != "archive" {
				return
			}
			// The next run neither gets it nor overwrites it.
			if _, err := s.Take(t.Context(), origin(session), 0, Actor{Name: "0other/s"}, sends(nil)); !errors.Is(err, ErrChanged) {
				t.Errorf("the next run: %v", err)
			}
		})
	}
}

// Whoever changed a record does not stop what comes after from being recorded.
func TestRecordGoesOnBehindAChange(t *testing.T) {
	s := kept(t, Options{})
	path := s.in(session, custodyName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, changed := range map[string][]byte{
		"a byte": bytes.Replace(data, []byte("anna"), []byte("anne"), 1), "the last line": append(data[:len(data)-5:len(data)-5], "x\"}\n"...),
		"all of it": []byte("gone"),
	} {
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Copy(t.Context(), session, io.Discard, nil, Actor{Name: "bert", Why: "after " + name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(after, changed) && name != "all of it" || !bytes.Contains(after, []byte("after "+name)) {
			t.Errorf("%s: %q: %v", name, after, err)
		}
		if _, err := s.Custody(session); !errors.Is(err, ErrChanged) && name != "all of it" {
			t.Errorf("%s: it is not found any more: %v", name, err)
		}
	}
}

// A crash tears the last line at any byte: what was whole stays, and it goes on.
func TestTornRecord(t *testing.T) {
	s := kept(t, Options{})
	path := s.in(session, custodyName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	at := len(data) - len(lines[2])
	for cut := at; cut < len(data); cut++ {
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.record(session, anna, Entry{What: Read, Text: "as it is on disk", SHA256: "x"}); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		c, err := s.Custody(session)
		if err != nil || c.Torn || len(c.Entries) != 3 || c.Entries[2].SHA256 != "x" {
			t.Fatalf("cut at %d: %+v: %v", cut, c, err)
		}
	}
}

// A folder of the release before has manifests of the same form, and no records.
func TestFolderOfTheReleaseBefore(t *testing.T) {
	s := open(t, t.TempDir(), Options{Keep: 1})
	data := archiveOf(t, "tmp/evil")
	manifest, err := json.Marshal(map[string]any{
		"session": session, "host": "H1", "path": "/tmp/evil", "file": "/elsewhere/carves/" + session + "/" + session + ".tar", "bytes": len(data), "sha256": sumOf(data),
		"kind": "tar", "files": []string{"tmp/evil"}, "alert": "er-1", "mark": "0run/s", "carved_at": start, "downloaded_at": start.Add(-1000),
	})
	for _, err := range []error{
		err, os.Mkdir(s.folder(session), 0o700), os.WriteFile(s.in(session, session+".tar"), data, 0o600), os.WriteFile(s.in(session, manifestName), manifest, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if r := whole(t, s, session); r.State != StateKept || len(r.Custody.Entries) > 0 {
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	if _, err := s.Copy(t.Context(), session, &out, nil, anna); err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("%d bytes: %v", out.Len(), err)
	}
	if err := s.Sweep(t.Context()); err != nil || kinds(t, s, session) != "read deleted" {
		t.Errorf("record %s: %v", kinds(t, s, session), err)
	}
}
