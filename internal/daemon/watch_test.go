package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// watched is a daemon of which nothing runs but the watcher, on a folder with the
// playbook one, which says first. It lives in a bubble.
type watched struct {
	t   *testing.T
	dir string
	*Daemon
	wait func(looks int) // that many looks
}

// watching runs a test in a bubble.
func watching(t *testing.T, more string, do func(w *watched)) {
	t.Helper()
	base := t.TempDir()
	w := &watched{dir: filepath.Join(base, "playbooks")}
	w.t = t
	w.write("one.yaml", described("first"))
	text := fmt.Sprintf("server: {url: \"https://127.0.0.1:1\", username: u, password: {file: pw}}\nplaybooks: {dir: playbooks%s}\nstore: {path: data}\n", more)
	for name, text := range map[string]string{"erbridge.yaml": text, "pw": "x\n"} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(base, "erbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		if w.Daemon, err = New(cfg, Options{}); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(cfg.Store.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		st, err := store.Open(t.Context(), cfg.Store.Path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}()
		if w.engine, err = playbooks.NewEngine(st, LintActions(cfg), w.set, playbooks.EngineOptions{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.watchPlaybooks(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the watcher ended: %v", err)
			}
		}()
		w.wait = func(looks int) {
			for range looks {
				time.Sleep(2 * time.Second)
				synctest.Wait()
			}
		}
		synctest.Wait()
		do(w)
	})
}

func (w *watched) path(name string) string { return filepath.Join(w.dir, name) }

func (w *watched) write(name, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) rename(from, to string) {
	w.t.Helper()
	if err := os.Rename(w.path(from), w.path(to)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) remove(name string) {
	w.t.Helper()
	if err := os.Remove(w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) lead(to, at string) {
	w.t.Helper()
	if err := os.Symlink(to, w.path(at+"_tmp")); err != nil {
		w.t.Fatal(err)
	}
	w.rename(at+"_tmp", at)
}

// inForce are the playbooks that the engine works with, and what they say.
func (w *watched) inForce() string {
	var all []string
	for _, p := range w.engine.Set().Playbooks() {
		all = append(all, p.Name+" "+p.Description)
	}
	return strings.Join(all, ", ")
}

// expect compares what is in force, and the first line of why what is on disk is not.
func (w *watched) expect(inForce, refused string) {
	w.t.Helper()
	if got := w.inForce(); got != inForce {
		w.t.Errorf("in force are %q, want %q", got, inForce)
	}
	warning := w.Readiness(w.t.Context()).Warnings["playbooks"]
	if (warning == "") != (refused == "") || !strings.Contains(warning, refused) {
		w.t.Errorf("readiness says %q, want %q", warning, refused)
	}
	gauge := 0.0
	if refused != "" {
		gauge = 1
	}
	if got := w.metric("erbridge_playbooks_refused"); got != gauge {
		w.t.Errorf("erbridge_playbooks_refused is %v", got)
	}
}

func (w *watched) metric(name string, labels ...string) float64 {
	w.t.Helper()
	families, err := w.o.Metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (len(labels) == 0 || m.GetLabel()[0].GetValue() == labels[0]) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	w.t.Fatalf("no metric %s %q", name, labels)
	return 0
}

// What changes the folder in one go, in the ways of editors, mounts and tools.
func TestWatchTakesChanges(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(w *watched) // in force when change is called
		change func(w *watched)
		want   string
	}{
		{"an editor that writes in place", nil, func(w *watched) { w.write("one.yaml", described("second")) }, "one second"},
		{"an editor that renames over", nil, func(w *watched) {
			w.write("one.yaml.tmp", described("second"))
			w.rename("one.yaml.tmp", "one.yaml")
		}, "one second"},
		{"an editor that keeps a backup", nil, func(w *watched) {
			w.write(".one.yaml.swp", "\x00")
			w.rename("one.yaml", "one.yaml~")
			w.write("one.yaml", described("second"))
			w.remove("one.yaml~")
			w.remove(".one.yaml.swp")
		}, "one second"},
		{"a mounted configuration", func(w *watched) {
			w.remove("one.yaml")
			w.write("..2026_1/one.yaml", described("first"))
			w.lead("..2026_1", "..data")
			w.lead("..data/one.yaml", "one.yaml")
		}, func(w *watched) {
			w.write("..2026_2/one.yaml", described("second"))
			w.lead("..2026_2", "..data")
			if err := os.RemoveAll(w.path("..2026_1")); err != nil {
				t.Error(err)
			}
		}, "one second"},
		{"another folder in its place", nil, func(w *watched) {
			w.write("../next/one.yaml", described("second"))
			w.write("../next/two.yaml", strings.Replace(described("new"), "one", "two", 1))
			w.rename(".", "../past")
			w.rename("../next", ".")
		}, "one second, two new"},
		{"a link to another folder", func(w *watched) {
			w.rename(".", "../rev1")
			w.lead("rev1", "../playbooks")
		}, func(w *watched) {
			w.write("../rev2/one.yaml", described("second"))
			w.lead("rev2", "../playbooks")
		}, "one second"},
		{"a playbook more", nil, func(w *watched) {
			w.write("sub/two.yaml", strings.Replace(described("new"), "one", "two", 1))
		}, "one first, two new"},
		{"the same length and time", nil, func(w *watched) {
			info, err := os.Stat(w.path("one.yaml"))
			if err != nil {
				w.t.Fatal(err)
			}
			w.write("one.yaml", described("tsrif"))
			if err := os.Chtimes(w.path("one.yaml"), info.ModTime(), info.ModTime()); err != nil {
				w.t.Fatal(err)
			}
		}, "one tsrif"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			watching(t, "", func(w *watched) {
				if tt.before != nil {
					tt.before(w)
				}
				w.wait(5)
				w.expect("one first", "")
				taken := w.metric("erbridge_playbook_reloads_total", "taken")
				tt.change(w)
				w.wait(1)
				w.expect("one first", "") // it may still be written to
				w.wait(1)
				w.expect(tt.want, "")
				w.wait(40)
				w.expect(tt.want, "")
				if n := w.metric("erbridge_playbook_reloads_total", "taken") - taken; n != 1 {
					t.Errorf("taken %v times", n)
				}
			})
		})
	}
}

// Two changes in quick succession are one: what was there in between is never in force.
func TestWatchWaitsUntilItIsQuiet(t *testing.T) {
	watching(t, "", func(w *watched) {
		w.wait(3)
		for i := range 5 {
			w.write("one.yaml", described(fmt.Sprint("draft ", i)))
			w.wait(1)
			w.expect("one first", "")
		}
		w.wait(1)
		w.expect("one draft 4", "")
	})
}

func TestWatchRefusesMistakes(t *testing.T) {
	watching(t, "", func(w *watched) {
		w.wait(3)
		began := time.Now()
		w.write("two.yaml", "playbook: two\nsteps:\n  - do: alert.nte\n  - do: alert.note\n")
		w.wait(2)
		since := began.Add(4 * time.Second).UTC().Format(time.RFC3339)
		w.expect("one first", "what is on disk is refused since "+since+", and what was loaded before stays in force: "+w.path("two.yaml")+`:3:9: unknown action "alert.nte" [unknown-action]; did you mean "alert.note"? (and 1 more)`)
		w.wait(10)
		if n := w.metric("erbridge_playbook_reloads_total", "refused"); n != 1 {
			t.Errorf("one mistake was refused %v times", n)
		}
		// Another mistake is the same refusal still.
		w.write("two.yaml", "playbook: two\nsteps: [")
		w.write("one.yaml", described("second"))
		w.wait(2)
		w.expect("one first", since)
		w.expect("one first", w.path("two.yaml")+":2:")
		w.write("two.yaml", strings.Replace(described("mended"), "one", "two", 1))
		w.wait(2)
		w.expect("one second, two mended", "")
	})
}

// A mistake that is taken back leaves what is in force, and ends the refusal.
func TestWatchOfAMistakeTakenBack(t *testing.T) {
	watching(t, "", func(w *watched) {
		w.wait(3)
		w.write("one.yaml", "playbook: one\n")
		w.wait(2)
		w.expect("one first", "one.yaml:1:1:")
		w.write("one.yaml", described("first"))
		w.wait(2)
		w.expect("one first", "")
	})
}

// A file that is written slowly is never taken by halves.
func TestWatchOfAHalfWrittenFile(t *testing.T) {
	watching(t, "", func(w *watched) {
		w.wait(3)
		text := described("second")
		half := strings.Index(text, "seen")
		w.write("one.yaml", text[:half])
		w.wait(1)
		w.write("one.yaml", text) // just in time: nobody hears of it
		w.wait(2)
		w.expect("one second", "")
		if n := w.metric("erbridge_playbook_reloads_total", "refused"); n != 0 {
			t.Errorf("refused %v times", n)
		}
		w.write("one.yaml", text[:half])
		w.wait(2)
		w.expect("one second", "one.yaml:")
		w.write("one.yaml", text)
		w.wait(2)
		w.expect("one second", "")
	})
}

// A folder that is gone, or holds nothing any more, switches nothing off.
func TestWatchOfAFolderThatGoes(t *testing.T) {
	for _, tt := range []struct {
		name     string
		away     func(w *watched)
		back     func(w *watched)
		want     string
		unsteady bool
	}{
		{name: "for a moment",
			away: func(w *watched) { w.rename(".", "../away") }, back: func(w *watched) { w.rename("../away", ".") }, unsteady: true},
		{name: "missing",
			away: func(w *watched) { w.rename(".", "../away") }, back: func(w *watched) { w.rename("../away", ".") }, want: "playbooks:1:1: playbooks: "},
		{name: "empty, as a mount leaves it",
			away: func(w *watched) { w.rename(".", "../away"); w.write("lost+found/x", "") },
			back: func(w *watched) {
				if err := os.RemoveAll(w.dir); err != nil {
					w.t.Fatal(err)
				}
				w.rename("../away", ".")
			},
			want: "holds no playbook any more; if that is meant, say so with erbridge reload"},
		{name: "a file in its place",
			away: func(w *watched) { w.rename(".", "../away"); w.write("../playbooks", "") },
			back: func(w *watched) { w.remove("."); w.rename("../away", ".") }, want: "playbooks:1:1: playbooks: "},
	} {
		for _, library := range []string{"", ", library: [triage-note]"} {
			t.Run(tt.name+library, func(t *testing.T) {
				watching(t, library, func(w *watched) {
					w.wait(3)
					before := w.inForce()
					tt.away(w)
					if tt.unsteady {
						w.wait(1)
					} else {
						w.wait(40)
					}
					w.expect(before, tt.want)
					tt.back(w)
					w.wait(3)
					w.expect(before, "")
					// And it is watched as before.
					w.write("one.yaml", described("second"))
					w.wait(2)
					w.expect(strings.Replace(before, "one first", "one second", 1), "")
				})
			})
		}
	}
}

// One that was empty from the start is no loss.
func TestWatchOfAnEmptyFolder(t *testing.T) {
	watching(t, "", func(w *watched) {
		w.wait(3)
		w.remove("one.yaml")
		w.wait(2)
		w.expect("one first", "holds no playbook any more")
		cfg := w.cfg
		set, err := w.loadBound(cfg) // as a reload by hand takes it
		if err != nil {
			t.Fatal(err)
		}
		w.engine.Reload(set)
		w.mu.Lock()
		w.taken(w.set, set)
		w.set = set
		w.mu.Unlock()
		w.wait(40)
		w.expect("", "")
		w.write("one.yaml", described("back"))
		w.wait(2)
		w.expect("one back", "")
	})
}

// A file that is there and cannot be read: a link that leads to itself, since root may
// read whatever has no permissions.
func TestWatchUnreadableFile(t *testing.T) {
	watching(t, "", func(w *watched) {
		w.wait(3)
		one, aside := w.path("one.yaml"), w.path("one.aside")
		if err := errors.Join(os.Rename(one, aside), os.Symlink("one.yaml", one)); err != nil {
			t.Fatal(err)
		}
		w.wait(2)
		w.expect("one first", "one.yaml:1:1: playbooks: stat one.yaml: too many")
		if err := errors.Join(os.Remove(one), os.Rename(aside, one)); err != nil {
			t.Fatal(err)
		}
		w.wait(2)
		w.expect("one first", "")
	})
}

func TestWatchFollowsItsSettings(t *testing.T) {
	watching(t, ", watch: 0s", func(w *watched) {
		set := func(change func(*config.Playbooks)) {
			w.mu.Lock()
			next := *w.cfg
			change(&next.Playbooks)
			w.cfg = &next
			w.mu.Unlock()
			w.rewatch <- struct{}{}
			synctest.Wait()
		}
		w.write("one.yaml", described("second"))
		w.wait(100)
		w.expect("one first", "")
		set(func(p *config.Playbooks) { p.Watch = time.Minute })
		w.wait(59)
		w.expect("one first", "")
		w.wait(1)
		w.expect("one second", "")
		set(func(p *config.Playbooks) { p.Watch = 2 * time.Second; p.Dir = filepath.Join(w.dir, "..", "others") })
		w.write("../others/one.yaml", described("third"))
		w.wait(3)
		w.expect("one third", "")
		set(func(p *config.Playbooks) { p.Dir = "" })
		w.write("../others/one.yaml", described("fourth"))
		w.wait(10)
		w.expect("one third", "")
	})
}

// What was loaded for a configuration that is no longer in force is loaded again, and
// nothing is put in place while the daemon stops.
func TestWatchIsOvertaken(t *testing.T) {
	watching(t, ", watch: 0s", func(w *watched) {
		set, err := w.loadBound(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		other := *w.cfg
		if err := w.takePlaybooks(&other, set, nil); !errors.Is(err, errSuperseded) {
			t.Errorf("take = %v", err)
		}
		w.stopping.Store(true)
		if err := w.takePlaybooks(w.cfg, set, nil); !errors.Is(err, errStopping) {
			t.Errorf("take while stopping = %v", err)
		}
		if w.engine.Set() == set {
			t.Error("it is in force")
		}
	})
}

// A change of a list counts, and what is written while it is loaded is not taken.
func TestWatchOfWhatChangesWhileItIsLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write := func(text string) {
			if err := os.WriteFile(filepath.Join(dir, "vip.txt"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("anna")
		cfg := &config.Config{Playbooks: config.Playbooks{Dir: dir, Watch: 2 * time.Second}}
		var loaded, taken int
		w := &watcher{
			settings: func() *config.Config { return cfg },
			load: func(*config.Config) (*playbooks.Set, error) {
				if loaded++; loaded == 1 {
					write("bert")
				}
				return nil, nil
			},
			take: func(*config.Config, *playbooks.Set, error) error { taken++; return nil },
		}
		for range 2 {
			w.look(cfg)
		}
		if loaded != 1 || taken != 0 {
			t.Errorf("loaded %d times, taken %d times", loaded, taken)
		}
		for range 3 {
			w.look(cfg)
		}
		if loaded != 2 || taken != 1 {
			t.Errorf("at last: loaded %d times, taken %d times", loaded, taken)
		}
	})
}

// waitsAndNotes has a step that waits until the host is online, and one after it.
func waitsAndNotes(text string) string {
	return fmt.Sprintf(`
playbook: note
steps:
  - id: scan
    do: defender.scan
    with: {host: "${{ .alert.host.identifier }}"}
    retry: {attempts: 20, delay: 2s}
  - id: note
    do: alert.note
    with: {text: "%s on ${{ .alert.host.name }}"}
`, text)
}

// A playbook that is changed, and one that is deleted, on disk: new alerts see the new
// ones, and runs that wait go on with the version they began with.
func TestRunsKeepTheirVersionWhileTheFolderChanges(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/note.yaml", waitsAndNotes("old"))
	s.write("playbooks/gone.yaml", strings.Replace(waitsAndNotes("gone"), "playbook: note", "playbook: gone", 1))
	s.configure(quickPoll)
	s.watch("100ms")
	d, _ := s.start()
	version := d.engine.Set().Get("note").Hash
	gone := d.engine.Set().Get("gone").Hash

	s.sim.SetOnline("WIN-FIN-01", false)
	waiting := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	runsOf := func(ref string) map[string]soar.Run {
		runs, err := d.Store().Runs(t.Context(), store.RunFilter{Alert: ref})
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]soar.Run{}
		for _, r := range runs {
			named[r.Playbook] = r
		}
		return named
	}
	old := fmt.Sprintf("er-%d", waiting)
	s.until(func() bool {
		runs := runsOf(old)
		return runs["note"].State == soar.RunWaiting && runs["gone"].State == soar.RunWaiting
	})

	s.write("playbooks/note.yaml.tmp", waitsAndNotes("new"))
	if err := os.Rename(s.path("playbooks/note.yaml.tmp"), s.path("playbooks/note.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path("playbooks/gone.yaml")); err != nil {
		t.Fatal(err)
	}
	s.until(func() bool {
		set := d.engine.Set()
		return set.Get("note").Hash != version && set.Get("gone") == nil
	})

	fresh := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-02"})
	s.awaitEvent(d.Store(), runFinished(fmt.Sprintf("er-%d", fresh)))
	if runs := runsOf(fmt.Sprintf("er-%d", fresh)); len(runs) != 1 || runs["note"].Version == version {
		t.Errorf("runs of the new alert: %+v", runs)
	}
	if runs := runsOf(old); runs["note"].State.Ended() || runs["gone"].State.Ended() || runs["note"].Version != version || runs["gone"].Version != gone {
		t.Errorf("runs of the alert before: %+v", runs)
	}

	s.sim.SetOnline("WIN-FIN-01", true)
	s.until(func() bool {
		runs := runsOf(old)
		return runs["note"].State == soar.RunDone && runs["gone"].State == soar.RunDone
	})
	if runs := runsOf(old); runs["note"].Version != version || runs["gone"].Version != gone {
		t.Errorf("versions: %+v", runs)
	}
	notes := strings.Join(s.sim.Notes(waiting), "\n")
	if !strings.Contains(notes, "old on WIN-FIN-01") || !strings.Contains(notes, "gone on WIN-FIN-01") || strings.Contains(notes, "new on") {
		t.Errorf("notes of the alert before: %q", notes)
	}
	if notes := strings.Join(s.sim.Notes(fresh), "\n"); !strings.Contains(notes, "new on WIN-FIN-02") {
		t.Errorf("notes of the new alert: %q", notes)
	}
}

// What is refused stands in /readyz, and a reload by hand is judged the same way.
func TestRefusedPlaybooksShowInReadiness(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll)
	s.watch("100ms")
	d, _ := s.start()
	s.write("playbooks/wrong.yaml", "playbook: wrong\nsteps: [{do: nothing.at.all}]\n")
	s.until(func() bool { return strings.Contains(string(get(t, d, "/readyz")), `wrong.yaml:2:14: unknown action`) })
	if metrics := string(get(t, d, "/metrics")); !strings.Contains(metrics, "\nerbridge_playbooks_refused 1\n") || !strings.Contains(metrics, `erbridge_playbook_reloads_total{outcome="refused"} `) {
		t.Error("no metric tells of it")
	}
	if !d.Readiness(t.Context()).Ready {
		t.Error("the playbooks before are in force, and it is not ready")
	}
	s.watch("0s") // no watcher: from here on it is a person who says when
	if _, err := d.Reload(t.Context()); err == nil {
		t.Error("the mistake was taken")
	}
	if err := os.Remove(s.path("playbooks/wrong.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := d.Readiness(t.Context()); r.Warnings["playbooks"] != "" || d.cfg.Playbooks.Watch != 0 {
		t.Errorf("after it was mended: %+v", r)
	}
	// A folder without playbooks is taken when a person says so.
	if err := os.Remove(s.path("playbooks/note.yaml")); err != nil {
		t.Fatal(err)
	}
	if result, err := d.Reload(t.Context()); err != nil || result.Playbooks != 0 {
		t.Errorf("Reload = %+v, %v", result, err)
	}
}

// watch sets playbooks.watch in the site's file.
func (s *site) watch(every string) {
	s.t.Helper()
	data, err := os.ReadFile(s.path("erbridge.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	text := string(data)
	from := strings.Index(text, "watch: ")
	to := from + strings.Index(text[from:], "}")
	s.write("erbridge.yaml", text[:from]+"watch: "+every+text[to:])
}
