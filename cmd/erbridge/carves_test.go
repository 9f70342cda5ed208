package main

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	agecrypt "filippo.io/age"

	"github.com/erbridge/erbridge/internal/evidence"
)

// evilTar is an archive with a name that would be dangerous to unpack.
func evilTar(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: "../../etc/evil\x1b[2J", Mode: 0o600, Size: 4})
	if err == nil {
		_, err = w.Write([]byte("evil"))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The way of an analyst: find a carve, look at it, get it; and that of who changed it.
func TestCarvesCommands(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "erbridge.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	key, err := agecrypt.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identity := write(t, dir, "key.txt", "# created: today\n"+key.String()+"\n")
	data := evilTar(t)
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	by := evidence.Actor{Name: "0run/collect", Why: "alert er-1"}
	origin := func(session string) evidence.Origin {
		at = at.Add(time.Minute)
		return evidence.Origin{Session: session, Host: "HOST-1", Path: "/tmp/evil", Alert: "er-1", Mark: by.Name, CarvedAt: at}
	}
	for session, recipients := range map[string][]string{"PLAIN": nil, "SEALED": {key.Recipient().String()}} {
		s, err := evidence.New(filepath.Join(dir, "data", "carves"), evidence.Options{Recipients: recipients})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Take(t.Context(), origin(session), 0, by, func(_ context.Context, w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		two := int64(2)
		if _, err := s.Note(origin("MOVING"), evidence.Seen{Status: "IN PROGRESS", Done: &two, Blocks: 4, Size: 999}, by); err != nil {
			t.Fatal(err)
		}
	}
	carves := func(wantCode int, line ...string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, code := erbridge(t, "", append(append([]string{"carves"}, line...), "-c", config)...)
		if code != wantCode {
			t.Errorf("carves %s: exit code %d, want %d\n%s%s", strings.Join(line, " "), code, wantCode, stdout, stderr)
		}
		return stdout, stderr
	}

	out, _ := carves(exitOK, "list")
	for _, want := range []string{`PLAIN +kept .* HOST-1 +/tmp/evil +2048 +er-1`, `SEALED +kept .* encrypted\n`, `MOVING +under way .* 2 of 4 blocks, 999 bytes, the server says "IN PROGRESS"`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("list does not show %s:\n%s", want, out)
		}
	}
	if out, _ := carves(exitOK, "list", "--state", "under way", "-o", "jsonl", "--jq", ".session"); out != "\"MOVING\"\n" {
		t.Errorf("list of one state: %s", out)
	}
	if _, stderr := carves(exitUsage, "list", "--state", "gone"); !strings.Contains(stderr, "expected one of under way, stalled") {
		t.Error(stderr)
	}

	for _, session := range []string{"PLAIN", "SEALED"} {
		out, _ = carves(exitOK, "show", session)
		for _, want := range []string{`verified +archive, manifest and record of custody agree`, `head +\d:[0-9a-f]{64}`, `files +../../etc/evil\\x1b\[2J`, `downloaded +0run/collect +alert er-1`} {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("show %s does not show %s:\n%s", session, want, out)
			}
		}
	}
	if out, _ := carves(exitOK, "show", "MOVING"); !strings.Contains(out, "2 of 4 blocks") {
		t.Errorf("show what is under way:\n%s", out)
	}
	carves(exitNotFound, "show", "NOSUCH")
	carves(exitNotFound, "show", "../../etc")

	// Nobody gets one without saying why.
	to := filepath.Join(dir, "got.tar")
	if _, stderr := carves(exitUsage, "get", "PLAIN", "--output", to); !strings.Contains(stderr, "--reason is needed") {
		t.Error(stderr)
	}
	if _, stderr := carves(exitUsage, "get", "PLAIN", "--reason", "case 12"); !strings.Contains(stderr, "--output is needed") {
		t.Error(stderr)
	}
	carves(exitNotFound, "get", "NOSUCH", "--output", to, "--reason", "case 12")
	carves(exitNotFound, "get", "MOVING", "--output", to, "--reason", "case 12")
	if _, err := os.Stat(to); err == nil {
		t.Error("a file was left behind")
	}

	carves(exitOK, "get", "PLAIN", "--output", to, "--reason", "case 12", "--by", "anna")
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes: %v", len(got), err)
	}
	if _, stderr := carves(exitFailed, "get", "PLAIN", "--output", to, "--reason", "again"); !strings.Contains(stderr, "exists") {
		t.Error(stderr)
	}
	if out, _ := carves(exitOK, "get", "SEALED", "--output", "-", "--reason", "case 12", "--identity", identity); out != string(data) {
		t.Errorf("decrypted %d bytes", len(out))
	}
	if out, _ := carves(exitOK, "get", "SEALED", "--output", "-", "--reason", "case 12"); !strings.HasPrefix(out, "age-encryption.org/v1") {
		t.Errorf("sealed: %.40q", out)
	}
	if _, stderr := carves(exitFailed, "get", "SEALED", "--output", "-", "--reason", "case 12", "--identity", config); !strings.Contains(stderr, "no secret keys of age") {
		t.Error(stderr)
	}
	if out, _ := carves(exitOK, "show", "PLAIN", "-o", "jsonl", "--jq", `.custody.entries[-1] | [.what, (.by | startswith("anna")), .why]`); out != `["read",true,"case 12"]`+"\n" {
		t.Errorf("record: %s", out)
	}

	// A changed archive is neither shown as good nor handed out.
	path := filepath.Join(dir, "data", "carves", "PLAIN", "PLAIN.tar")
	data[600] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, stderr := carves(exitFailed, "show", "PLAIN")
	if !strings.Contains(out, "changed since it was downloaded") || !strings.Contains(stderr, "is not as it was downloaded") {
		t.Errorf("show what was changed:\n%s%s", out, stderr)
	}
	if out, _ := carves(exitFailed, "get", "PLAIN", "--output", "-", "--reason", "case 12"); out != "" {
		t.Errorf("%d bytes of what was changed were handed out", len(out))
	}
}
