package sinks_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

func openFile(t *testing.T, s *sinks.FileSettings, env sinks.Env) sinks.Sink {
	t.Helper()
	sink, err := sinks.Open("archive", "file", s, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	return sink
}

func readIDs(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		unpacked, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(unpacked); err != nil {
			t.Fatal(err)
		}
	}
	events, err := sinksim.ReadEvents(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var ids []string
	for _, ev := range events {
		ids = append(ids, ev.ID)
	}
	return ids
}

func TestFileContract(t *testing.T) {
	var path string
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 1000,
		Open: func(t *testing.T, _ sinktest.Receiver) sinks.Sink {
			path = filepath.Join(t.TempDir(), "events.ndjson")
			return openFile(t, &sinks.FileSettings{Path: path}, sinks.Env{})
		},
		Delivered: func(t *testing.T) []string { return readIDs(t, path) },
		Answers: []sinktest.Answer{
			{Name: "no folder", Want: sinktest.Config, Open: func(t *testing.T) sinks.Sink {
				return openFile(t, &sinks.FileSettings{Path: filepath.Join(t.TempDir(), "missing", "events.ndjson")}, sinks.Env{})
			}},
			{Name: "a folder in its place", Want: sinktest.Config, Open: func(t *testing.T) sinks.Sink {
				return openFile(t, &sinks.FileSettings{Path: t.TempDir()}, sinks.Env{})
			}},
		},
		Without: map[string]string{
			"cancelled in mid-send": "it waits for nothing but another writer: TestFileCancelledWhileLocked",
			"partial batch":         "a batch is on disk as a whole or not at all",
			"poison item":           "a file takes every line",
			"certificate":           "a file has none",
		},
	})
}

func TestFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	sendBatch(t, openFile(t, &sinks.FileSettings{Path: path}, sinks.Env{}), 1)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, want 0640 at most", info.Mode())
	}
}

func sendBatch(t *testing.T, sink sinks.Sink, ns ...int) {
	t.Helper()
	var events []soar.Event
	for _, n := range ns {
		events = append(events, sinktest.Event(n))
	}
	if err := sink.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// What a crash in the middle of a batch can leave at the end of the file.
func TestFileTornLastLine(t *testing.T) {
	whole := `{"id":"old","type":"test","at":"2026-11-22T00:00:00Z"}`
	for name, tt := range map[string]struct {
		tail string
		want []string
	}{
		"nothing":             {"", []string{"old", "er-1"}},
		"half a line":         {whole[:20], []string{"old", "er-1"}},
		"a line without end":  {strings.Replace(whole, "old", "late", 1), []string{"old", "late", "er-1"}},
		"zeros":               {strings.Repeat("\x00", 5000), []string{"old", "er-1"}},
		"a line, then zeros":  {whole + strings.Repeat("\x00", 9), []string{"old", "er-1"}},
		"longer than a block": {`{"id":"` + strings.Repeat("x", 200_000), []string{"old", "er-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.ndjson")
			if err := os.WriteFile(path, []byte(whole+"\n"+tt.tail), 0o600); err != nil {
				t.Fatal(err)
			}
			sendBatch(t, openFile(t, &sinks.FileSettings{Path: path}, sinks.Env{}), 1)
			if got := readIDs(t, path); !slices.Equal(got, tt.want) {
				t.Errorf("events %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFileOfSomebodyElseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("shopping:\nmilk"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := openFile(t, &sinks.FileSettings{Path: path}, sinks.Env{}).Send(t.Context(), sinktest.Events(1))
	if !errors.Is(err, sinks.ErrConfig) {
		t.Errorf("error %v, want ErrConfig", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "shopping:\nmilk" {
		t.Errorf("the file is now %q", data)
	}
}

func TestFileConfigErrors(t *testing.T) {
	dir := t.TempDir()
	busy := filepath.Join(dir, "busy.ndjson")
	sendBatch(t, openFile(t, &sinks.FileSettings{Path: busy}, sinks.Env{}), 1)
	for name, tt := range map[string]struct{ path, want string }{
		"no folder":    {filepath.Join(dir, "missing", "events.ndjson"), "create it"},
		"a folder":     {dir, "not a regular file"},
		"a device":     {"/dev/null", "not a regular file"},
		"not a folder": {filepath.Join(busy, "x.ndjson"), "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			err := openFile(t, &sinks.FileSettings{Path: tt.path}, sinks.Env{}).Send(t.Context(), sinktest.Events(1))
			if !errors.Is(err, sinks.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrConfig and %q", err, tt.want)
			}
		})
	}
}

// A second sink on the same file, as when a running one is tested: their batches
// do not tear each other apart, also when one of them rotates.
func TestFileTwoWriters(t *testing.T) {
	dir := t.TempDir()
	settings := sinks.FileSettings{Path: filepath.Join(dir, "events.ndjson"), MaxBytes: 5000}
	const each = 40
	var writers sync.WaitGroup
	for w := range 2 {
		sink := openFile(t, &settings, sinks.Env{})
		writers.Go(func() {
			for n := range each {
				if err := sink.Send(t.Context(), []soar.Event{sinktest.Event(w*each + n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	files, err := filepath.Glob(filepath.Join(dir, "events*"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, path := range files {
		for _, id := range readIDs(t, path) {
			seen[id] = true
		}
	}
	if len(seen) != 2*each || len(files) < 3 {
		t.Errorf("%d events in %d files, want %d in several", len(seen), len(files), 2*each)
	}
}

func TestFileRotation(t *testing.T) {
	for _, packed := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "gzip"}[packed]
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "events.ndjson")
			bystander := filepath.Join(dir, "events-notes.ndjson")
			if err := os.WriteFile(bystander, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			now := time.Date(2026, 11, 22, 5, 30, 33, 0, time.UTC)
			sink := openFile(t, &sinks.FileSettings{Path: path, MaxBytes: 1500, MaxAge: time.Hour, Keep: 3, Gzip: packed},
				sinks.Env{Now: func() time.Time { return now }, State: &sinktest.Memory{}})
			// Two events fit into a file; each pair is a batch that is never torn apart.
			for n := 1; n <= 9; n += 2 {
				sendBatch(t, sink, n, n+1)
			}
			now = now.Add(time.Hour) // age
			sendBatch(t, sink, 11)
			if got := readIDs(t, path); !slices.Equal(got, []string{"er-11"}) {
				t.Errorf("current file %v", got)
			}
			rotated, err := filepath.Glob(filepath.Join(dir, "events-2*"))
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(rotated)
			var all []string
			for _, r := range rotated {
				if strings.HasSuffix(r, ".gz") != packed {
					t.Errorf("rotated file %s", r)
				}
				all = append(all, readIDs(t, r)...)
			}
			if want := []string{"er-5", "er-6", "er-7", "er-8", "er-9", "er-10"}; !slices.Equal(all, want) {
				t.Errorf("kept %v in %v, want %v", all, rotated, want)
			}
			if data, _ := os.ReadFile(bystander); string(data) != "mine" {
				t.Error("a file that is not the sink's was touched")
			}
		})
	}
}

// The age of a file survives a restart, and a file moved away by others is
// followed by a new one.
func TestFileAgeAndForeignRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.ndjson")
	now := time.Date(2026, 11, 22, 5, 30, 33, 0, time.UTC)
	env := sinks.Env{Now: func() time.Time { return now }, State: &sinktest.Memory{}}
	settings := &sinks.FileSettings{Path: path, MaxAge: 24 * time.Hour}
	sink := openFile(t, settings, env)
	sendBatch(t, sink, 1)
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(23 * time.Hour)
	sink = openFile(t, settings, env)
	sendBatch(t, sink, 2)
	now = now.Add(time.Hour)
	sendBatch(t, sink, 3)
	if got := readIDs(t, path); !slices.Equal(got, []string{"er-3"}) {
		t.Errorf("current file %v, want er-3 alone", got)
	}
	if err := os.Rename(path, filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	sendBatch(t, sink, 4)
	if got := readIDs(t, path); !slices.Equal(got, []string{"er-4"}) {
		t.Errorf("current file %v, want er-4 alone", got)
	}
	if got := readIDs(t, filepath.Join(dir, "moved")); !slices.Equal(got, []string{"er-3"}) {
		t.Errorf("moved file %v, want er-3 alone", got)
	}
}

// Other formats than JSON: each line as a whole, a torn one ended, and nothing of
// anybody cut off.
func TestFileFormats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.cef")
	if err := os.WriteFile(path, []byte("CEF:0|torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	sendBatch(t, openFile(t, &sinks.FileSettings{Path: path, FormatSettings: sinks.FormatSettings{Format: "cef"}}, sinks.Env{Version: "1"}), 1, 2)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != 4 || lines[0] != "CEF:0|torn" || !strings.HasPrefix(lines[1], "CEF:0|EclecticIQ|") || !strings.HasPrefix(lines[2], "CEF:0|") || lines[3] != "" {
		t.Errorf("lines %q", lines)
	}

	// What a template has no form for is set aside, and the others are written.
	path = filepath.Join(t.TempDir(), "hosts.txt")
	s := &sinks.FileSettings{Path: path, FormatSettings: sinks.FormatSettings{Format: "template"}}
	s.Template.Value = `if .alert.id == "2" then null else .alert.host.name + " " + .alert.id end`
	err = openFile(t, s, sinks.Env{}).Send(t.Context(), sinktest.Events(3))
	p, ok := errors.AsType[*sinks.PartialError](err)
	if !ok || len(p.Permanent) != 1 || p.Permanent[1] == nil {
		t.Errorf("error %v, want item 1 refused for good", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "WIN-07 1\nWIN-07 3\n" {
		t.Errorf("file %q, %v", data, err)
	}
}
