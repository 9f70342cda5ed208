package evidence

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/erbridge/erbridge/internal/soar"
)

// secret is in every archive, so that the plaintext is known when it is seen.
const secret = "the quick brown fox was here"

func archiveOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(secret))})
		if err == nil {
			_, err = io.WriteString(w, secret)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func packed(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// sends is a server that sends data.
func sends(data []byte) Fetch {
	return func(_ context.Context, w io.Writer) error {
		for part := range slices.Chunk(data, 1000) {
			if _, err := w.Write(part); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		return nil
	}
}

var (
	start = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	byRun = Actor{Name: "0run/s", Run: 7, Why: "alert er-1"}
	anna  = Actor{Name: "anna", Why: "case 12"}
)

const session = "A7NSDDG5NN"

func origin(session string) Origin {
	return Origin{Session: session, Host: "H1", Path: "/tmp/evil", Alert: "er-1", Mark: byRun.Name, CarvedAt: start}
}

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return start }
	}
	s, err := New(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(t *testing.T) *age.X25519Identity {
	t.Helper()
	k, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// kinds are what happened, in its order.
func kinds(t *testing.T, s *Store, session string) string {
	t.Helper()
	c, err := s.Custody(session)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range c.Entries {
		all = append(all, e.What)
	}
	return strings.Join(all, " ")
}

func whole(t *testing.T, s *Store, session string) Report {
	t.Helper()
	r, err := s.Verify(t.Context(), session)
	if err != nil || len(r.Problems) > 0 {
		t.Errorf("verify %s: %v: %v", session, r.Problems, err)
	}
	return r
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestTake(t *testing.T) {
	plain := archiveOf(t, "tmp/evil")
	one, other, stranger := key(t), key(t), key(t)
	for _, tt := range []struct {
		name, kind string
		data       []byte
	}{
		{"tar", KindTar, plain}, {"zst", KindZstd, packed(t, plain)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "carves"), Options{})
			m, err := s.Take(t.Context(), origin(session), int64(len(tt.data)), byRun, sends(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(m.File)
			if err != nil || !bytes.Equal(got, tt.data) || m.SHA256 != sumOf(tt.data) || m.Bytes != int64(len(got)) || m.Kind != tt.kind || m.DownloadedAt != start {
				t.Errorf("manifest %+v, %d bytes: %v", m, len(got), err)
			}
			if !slices.Equal(m.Files, []string{"tmp/evil"}) || m.Broken != "" || len(m.Remarks) > 0 {
				t.Errorf("manifest %+v", m)
			}
			r := whole(t, s, session)
			if r.State != StateKept || kinds(t, s, session) != "downloaded checked" || r.Custody.Entries[0].Run != 7 || r.Custody.Entries[0].Why != "alert er-1" {
				t.Errorf("report %+v", r)
			}
			if info, err := os.Stat(m.File); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("anybody can read it: %v, %v", info.Mode(), err)
			}
		})
		t.Run(tt.name+" encrypted", func(t *testing.T) {
			s := open(t, t.TempDir(), Options{Recipients: []string{one.Recipient().String(), other.Recipient().String()}})
			seen := 0
			s.disk.before = func(string, string) { seen += plaintext(t, s.dir) }
			m, err := s.Take(t.Context(), origin(session), 0, byRun, sends(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if seen += plaintext(t, s.dir); seen > 0 {
				t.Errorf("the plaintext was on disk %d times", seen)
			}
			if m.SHA256 != sumOf(tt.data) || m.StoredSHA256 == m.SHA256 || m.Kind != tt.kind || !slices.Equal(m.Files, []string{"tmp/evil"}) || !strings.HasSuffix(m.File, ".age") {
				t.Errorf("manifest %+v", m)
			}
			if whole(t, s, session); kinds(t, s, session) != "downloaded checked encrypted" {
				t.Errorf("record: %s", kinds(t, s, session))
			}
			for _, k := range []*age.X25519Identity{one, other} {
				var out bytes.Buffer
				keys, err := ReadIdentities(strings.NewReader("# created: today\n" + k.String() + "\n"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Copy(t.Context(), session, &out, keys, anna); err != nil || !bytes.Equal(out.Bytes(), tt.data) {
					t.Errorf("decrypted %d bytes: %v", out.Len(), err)
				}
			}
			var out bytes.Buffer
			if _, err := s.Copy(t.Context(), session, &out, &Identities{[]age.Identity{stranger}}, anna); err == nil || out.Len() > 0 {
				t.Errorf("a stranger got %d bytes: %v", out.Len(), err)
			}
			if _, err := s.Copy(t.Context(), session, &out, nil, anna); err != nil || sumOf(out.Bytes()) != m.StoredSHA256 {
				t.Errorf("as it is: %d bytes: %v", out.Len(), err)
			}
			if got := kinds(t, s, session); got != "downloaded checked encrypted read read read" {
				t.Errorf("record: %s", got)
			}
		})
	}
}

// plaintext counts the files below a folder that hold the secret.
func plaintext(t *testing.T, dir string) (n int) {
	t.Helper()
	for path, data := range tree(t, dir) {
		if bytes.Contains(data, []byte(secret)) {
			t.Logf("%s holds it", path)
			n++
		}
	}
	return n
}

// tree is every file below a folder.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What no archive should be is kept where it is evidence, and nowhere else.
func TestOddArchives(t *testing.T) {
	good := archiveOf(t, "tmp/evil")
	bomb := packed(t, append(archiveOf(t, "tmp/evil")[:1024], make([]byte, 100<<20)...))
	for _, tt := range []struct {
		name         string
		data         []byte
		told         int64
		kind         string
		broken, odd  string
		wantFiles    []string
		failed       error
		wantOutcomes string
	}{
		{name: "junk", data: []byte("this is what a broken agent sends"), kind: KindUnknown, broken: "neither those of a tar archive nor of zstd"},
		{name: "cut off", data: good[:530], kind: KindTar, broken: "broken inside: unexpected EOF"},
		{name: "packed junk", data: append([]byte{0x28, 0xb5, 0x2f, 0xfd}, "and nothing that follows from it"...), kind: KindZstd, broken: "broken inside"},
		{name: "another length than told", data: good, told: 77, kind: KindTar, odd: "the server told of 77 bytes, and sent 2048", wantFiles: []string{"tmp/evil"}},
		{name: "hostile names", data: archiveOf(t, "../../../../etc/cron.d/x", "/etc/passwd", `..\..\x`, "a\x1b[2J"), kind: KindTar,
			wantFiles: []string{"../../../../etc/cron.d/x", "/etc/passwd", `..\..\x`, "a\x1b[2J"}},
		{name: "names longer than any path", data: archiveOf(t, slices.Repeat([]string{strings.Repeat("\x01é", 1<<16)}, maxNames)...), kind: KindTar,
			wantFiles: slices.Repeat([]string{strings.Repeat("\x01é", 1365) + "\x01..."}, maxNames)},
		{name: "unpacks to very much", data: bomb, kind: KindZstd, wantFiles: []string{"tmp/evil"}},
		{name: "too large by what the server tells", data: good, told: 1 << 40, failed: ErrTooLarge},
		{name: "too large, and the server told of less", data: make([]byte, 64<<20+1), told: 20, failed: ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			s := open(t, filepath.Join(parent, "carves"), Options{MaxBytes: 64 << 20})
			m, err := s.Take(t.Context(), origin(session), tt.told, byRun, sends(tt.data))
			if !errors.Is(err, tt.failed) {
				t.Fatalf("got %v, want %v", err, tt.failed)
			}
			for path, data := range tree(t, parent) {
				if name := filepath.Base(path); filepath.Dir(path) != filepath.Join(s.dir, session) || strings.HasPrefix(name, partPrefix) || tt.failed != nil && len(data) > 4096 {
					t.Errorf("%s was left with %d bytes", path, len(data))
				}
			}
			if tt.failed != nil {
				if got := kinds(t, s, session); got != "refused" {
					t.Errorf("record: %s", got)
				}
				return
			}
			if m.Kind != tt.kind || !strings.Contains(m.Broken, tt.broken) || (m.Broken == "") != (tt.broken == "") || strings.Join(m.Remarks, ";") != tt.odd || m.SHA256 != sumOf(tt.data) {
				t.Errorf("manifest %+v", m)
			}
			if tt.wantFiles != nil && !slices.Equal(m.Files, tt.wantFiles) {
				t.Errorf("files %q", m.Files)
			}
			whole(t, s, session)
		})
	}
}

// An archive that makes a library panic ends nothing.
func TestPanicOverAnArchive(t *testing.T) {
	names, err := caught(func(io.Reader) ([]string, error) { panic("index out of range") }, nil)
	if names != nil || err == nil || err.Error() != "it cannot be looked into: index out of range" {
		t.Errorf("%v: %v", names, err)
	}
}

// A download that breaks off leaves nothing, and the next one begins anew.
func TestBrokenDownload(t *testing.T) {
	s := open(t, t.TempDir(), Options{Recipients: []string{key(t).Recipient().String()}})
	data, gone := archiveOf(t, "tmp/evil"), errors.New("connection reset")
	_, err := s.Take(t.Context(), origin(session), 0, byRun, func(_ context.Context, w io.Writer) error {
		_, err := w.Write(data[:1000])
		return errors.Join(err, gone)
	})
	if !errors.Is(err, gone) {
		t.Fatal(err)
	}
	for path := range tree(t, s.dir) {
		if filepath.Base(path) != lockName {
			t.Errorf("%s was left", path)
		}
	}
	if _, err := s.Take(t.Context(), origin(session), 0, byRun, sends(data)); err != nil {
		t.Fatal(err)
	}
	whole(t, s, session)
}

// Two runs fetch one carve: it is downloaded once, and both are on record.
func TestTwoRunsFetchOneCarve(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	data := archiveOf(t, "tmp/evil")
	second := Actor{Name: "0other/s", Run: 8}
	never := func(context.Context, io.Writer) error { t.Error("it was downloaded twice"); return nil }
	first, err := s.Take(t.Context(), origin(session), 0, byRun, func(ctx context.Context, w io.Writer) error {
		if _, err := s.Take(ctx, origin(session), 0, second, never); !errors.Is(err, ErrBusy) {
			t.Errorf("the second is not told to wait: %v", err)
		}
		if _, err := s.Note(origin(session), Seen{Status: "BUILDING"}, second); !errors.Is(err, ErrBusy) {
			t.Errorf("progress is noted beside a download: %v", err)
		}
		return sends(data)(ctx, w)
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time after a crash, say
		m, err := s.Take(t.Context(), origin(session), 0, second, never)
		if err != nil || m.SHA256 != first.SHA256 {
			t.Errorf("second: %+v: %v", m, err)
		}
	}
	if _, err := s.Take(t.Context(), origin(session), 0, byRun, never); err != nil {
		t.Error(err)
	}
	if got := kinds(t, s, session); got != "downloaded checked used" {
		t.Errorf("record: %s", got)
	}
	foreign := origin(session)
	foreign.Host = "H2"
	if _, err := s.Take(t.Context(), foreign, 0, second, never); err == nil || !strings.Contains(err.Error(), "holds one of host H1") {
		t.Errorf("the carve of another host: %v", err)
	}
}

// Names from the server are never a path.
func TestSessions(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, bad := range []string{"", "..", "../x", "a/b", "a_b", "ä", "a b", ".lock", strings.Repeat("a", 65)} {
		if _, err := s.Take(t.Context(), origin(bad), 0, byRun, sends(nil)); err == nil || !strings.Contains(err.Error(), "expected letters and digits") {
			t.Errorf("take %q: %v", bad, err)
		}
		if _, err := s.Get(bad); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("get %q: %v", bad, err)
		}
	}
	if len(tree(t, s.dir)) > 0 {
		t.Error("something was written")
	}
	if items, err := open(t, filepath.Join(s.dir, "none"), Options{}).List(); err != nil || items != nil {
		t.Errorf("a folder that does not exist: %v, %v", items, err)
	}
}

func TestRecipients(t *testing.T) {
	good := key(t)
	for text, want := range map[string]string{
		good.Recipient().String(): "", "age1short": "expected a public key of age", "ssh-ed25519 AAAA": "expected a public key", good.String(): "this is a secret key",
		" " + good.String(): "this is a secret key", "key: " + good.String(): "this is a secret key",
	} {
		err := CheckRecipient(text)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), good.String())) {
			t.Errorf("%.10s: %v", text, err)
		}
	}
	if _, err := ReadIdentities(strings.NewReader("AGE-SECRET-KEY-1XYZ")); err == nil || strings.Contains(err.Error(), "XYZ") {
		t.Error(err)
	}
}

// What somebody else keeps in the same folder is none of ours.
func TestForeignFolder(t *testing.T) {
	s := open(t, t.TempDir(), Options{Keep: 1, MaxTotal: 1})
	for _, err := range []error{
		os.Mkdir(s.folder("case12"), 0o700), os.WriteFile(s.in("case12", "case12.tar"), []byte("evidence of another tool"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if left := tree(t, s.dir); len(left) != 1 || left[s.in("case12", "case12.tar")] == nil {
		t.Errorf("left: %v", slices.Sorted(maps.Keys(left)))
	}
}

// The clock of a stall goes on over restarts, and stands for whoever takes over.
func TestProgress(t *testing.T) {
	now, dir := start, t.TempDir()
	clock := func() time.Time { return now }
	two, three := int64(2), int64(3)
	for _, tt := range []struct {
		after time.Duration
		seen  Seen
		by    Actor
		since time.Duration
		words string
	}{
		{0, Seen{"INITIALIZED", nil, 0, 0}, byRun, 0, `the server says "INITIALIZED"`},
		{time.Minute, Seen{"IN PROGRESS", &two, 4, 999}, byRun, time.Minute, `2 of 4 blocks, 999 bytes, the server says "IN PROGRESS"`},
		{4 * time.Minute, Seen{"IN PROGRESS", &two, 4, 999}, byRun, time.Minute, ""},
		{5 * time.Minute, Seen{"IN PROGRESS", &two, 4, 999}, Actor{Name: "0other/s"}, time.Minute, ""},
		{6 * time.Minute, Seen{"IN PROGRESS", &three, 4, 999}, byRun, 6 * time.Minute, ""},
		{7 * time.Minute, Seen{"IN PROGRESS", nil, 4, 999}, byRun, 7 * time.Minute, `4 blocks, 999 bytes in all, the server says "IN PROGRESS"`},
	} {
		now = start.Add(tt.after)
		s := open(t, dir, Options{Now: clock}) // as after a restart
		o := origin(session)
		o.Mark = tt.by.Name
		since, err := s.Note(o, tt.seen, tt.by)
		if err != nil || since != start.Add(tt.since) || tt.words != "" && tt.seen.String() != tt.words {
			t.Errorf("after %s: since %s, %q: %v", tt.after, since.Sub(start), tt.seen, err)
		}
		if item, err := s.Get(session); err != nil || item.State != StateUnderWay || item.Host != "H1" || item.Progress.Seen.String() != tt.seen.String() {
			t.Errorf("item %+v: %v", item, err)
		}
	}
	s := open(t, dir, Options{Now: clock, MaxBytes: 1000})
	for range 2 {
		if err := s.Stall(session, byRun, "nothing new for 10m"); err != nil {
			t.Fatal(err)
		}
	}
	items, err := s.List()
	if err != nil || len(items) != 1 || items[0].State != StateStalled || kinds(t, s, session) != "carved stalled" {
		t.Errorf("%+v, record %s: %v", items, kinds(t, s, session), err)
	}
	whole(t, s, session)
	if _, err := s.Note(origin("B7"), Seen{"IN PROGRESS", nil, 4, 1001}, byRun); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large by what the server tells: %v", err)
	}
	// It completed after all.
	if _, err := s.Take(t.Context(), origin(session), 0, byRun, sends(packed(t, archiveOf(t, "x")))); err != nil {
		t.Fatal(err)
	}
	if r := whole(t, s, session); r.State != StateKept || r.Progress != nil {
		t.Errorf("%+v", r)
	}
}
