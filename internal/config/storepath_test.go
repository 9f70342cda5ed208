package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The store is found in a file that has mistakes everywhere else.
func TestStorePathOfABrokenFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "erbridge.yaml")
	for _, tt := range []struct{ name, in, want, refused string }{
		{"relative", "sniks: {}\nstore: {path: data, retention: 5}\n", filepath.Join(dir, "data"), ""},
		{"absolute", "server: []\nstore:\n  path: /srv/erbridge\n", "/srv/erbridge", ""},
		{"not set", "limits: {workers: many}\n", Default().Store.Path, ""},
		{"set to nothing", "store: {path: }\n", "", "is not the path of a folder"},
		{"a list", "store: {path: [a]}\n", "", "is not the path of a folder"},
		{"not in its place", "store: data\n", "", "is not the path of a folder"},
		{"not even settings", "- store\n", "", "is not the path of a folder"},
		{"empty", "", "", "is not the path of a folder"},
		{"no YAML", "store: {path: data}\nsinks: [\n", "", "is not YAML"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.in), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := StorePath(path)
			if got != tt.want || (err == nil) != (tt.refused == "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("found %q, %v", got, err)
			}
		})
	}
	if _, err := StorePath(filepath.Join(dir, "absent.yaml")); !errors.Is(err, ErrUnreadable) {
		t.Errorf("no file: %v", err)
	}
}

// The console is found in such a file as well.
func TestConsoleListenOfABrokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "erbridge.yaml")
	for _, tt := range []struct{ name, in, want, refused string }{
		{"set", "sniks: {}\nconsole: {listen: 127.0.0.1:9}\n", "127.0.0.1:9", ""},
		{"not set", "sniks: {}\n", Default().Console.Listen, ""},
		{"turned off", "sniks: {}\nconsole: {listen: ''}\n", "", ""},
		{"a list", "console: {listen: [a]}\n", "", ""},
		{"no YAML", "console: {listen: 127.0.0.1:9}\nsinks: [\n", "", "so console.listen cannot be found in it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.in), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := ConsoleListen(path)
			if got != tt.want || (err == nil) != (tt.refused == "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("found %q, %v", got, err)
			}
		})
	}
}
