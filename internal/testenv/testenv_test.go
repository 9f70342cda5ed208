package testenv

import (
	"path/filepath"
	"testing"
)

// recorder notes how Need ended a test; its Skipf and Fatalf panic, as the real
// ones do not return either.
type recorder struct {
	testing.TB
	ended string
}

func (r *recorder) Helper()               {}
func (r *recorder) Skipf(string, ...any)  { r.ended = "skipped"; panic(r) }
func (r *recorder) Fatalf(string, ...any) { r.ended = "failed"; panic(r) }

func need(t *testing.T, programs ...string) (r *recorder, paths []string) {
	t.Helper()
	r = &recorder{TB: t, ended: "went on"}
	defer func() {
		if p := recover(); p != nil && p != any(r) {
			panic(p)
		}
	}()
	return r, Need(r, programs...)
}

func TestNeed(t *testing.T) {
	t.Setenv(RequireVariable, "")
	if r, paths := need(t, "go"); r.ended != "went on" || len(paths) != 1 || !filepath.IsAbs(paths[0]) {
		t.Errorf("Need(go) %s with %q, want one full path", r.ended, paths)
	}
	if r, _ := need(t, "go", "no-such-program"); r.ended != "skipped" {
		t.Errorf("Need of an absent program %s, want skipped", r.ended)
	}
	t.Setenv(RequireVariable, "1")
	if r, _ := need(t, "no-such-program"); r.ended != "failed" {
		t.Errorf("Need of an absent program with %s=1 %s, want failed", RequireVariable, r.ended)
	}
}
