package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/playbooks"
)

// watcher takes changes of the playbook folder in by itself. It looks again and
// again, which works where notices of the system do not: on network mounts, and for
// mounted configuration whose links are swapped.
type watcher struct {
	// settings are read before every look: a reload may change them.
	settings func() *config.Config
	// wake tells of such a reload; room for one, since one look at them is enough.
	wake chan struct{}
	// load reads the playbooks, and take puts them, or the mistakes in them, in place.
	// An error of take means that this has to be done again.
	load func(*config.Config) (*playbooks.Set, error)
	take func(*config.Config, *playbooks.Set, error) error

	// Owned by Run.
	dir    string
	folder *playbooks.Folder
	last   string // what the last look saw
	judged string // what was taken or refused last
}

// Run looks until ctx ends.
func (w *watcher) Run(ctx context.Context) error {
	for {
		cfg := w.settings()
		var next <-chan time.Time
		if cfg.Playbooks.Dir != "" && cfg.Playbooks.Watch > 0 {
			next = time.After(cfg.Playbooks.Watch)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		case <-next:
			w.look(cfg)
		}
	}
}

// look takes the folder when it is another than the one taken last and was the same
// twice: who is still writing to it does not leave it alone that long.
func (w *watcher) look(cfg *config.Config) {
	if w.folder == nil || w.dir != cfg.Playbooks.Dir {
		w.dir, w.folder = cfg.Playbooks.Dir, playbooks.NewFolder(cfg.Playbooks.Dir, time.Now)
		w.last, w.judged = "", ""
	}
	seen := w.folder.Look()
	steady := seen == w.last
	w.last = seen
	if !steady || seen == w.judged {
		return
	}
	set, err := w.load(cfg)
	// What was loaded is what was seen only if it is there still.
	if w.last = w.folder.Look(); w.last != seen {
		return
	}
	if w.take(cfg, set, err) == nil {
		w.judged = seen
	}
}

// watchPlaybooks is the watcher of a daemon.
func (d *Daemon) watchPlaybooks(ctx context.Context) error {
	w := &watcher{
		settings: func() *config.Config { d.mu.Lock(); defer d.mu.Unlock(); return d.cfg },
		wake:     d.rewatch, load: d.loadBound, take: d.takePlaybooks,
	}
	return w.Run(ctx)
}

// errSuperseded means that the configuration that playbooks were loaded with is no
// longer in force.
var errSuperseded = errors.New("the configuration was reloaded in between")

// takePlaybooks puts playbooks that the watcher loaded in force, or notes why they
// cannot be. The files are read before, so that a file system which does not answer
// holds up no reload and no shutdown.
func (d *Daemon) takePlaybooks(cfg *config.Config, set *playbooks.Set, err error) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.stopping.Load() {
		return errStopping
	}
	d.mu.Lock()
	current, old := d.cfg, d.set
	d.mu.Unlock()
	if current != cfg {
		return errSuperseded
	}
	if err == nil {
		err = emptied(cfg, old, set)
	}
	if err != nil {
		d.refused(err)
		d.log.Error("playbooks refused, those loaded before stay in force", "err", err)
		return nil
	}
	d.engine.Reload(set)
	d.mu.Lock()
	d.set = set
	d.mu.Unlock()
	if news := d.taken(old, set); news.any() {
		d.log.Info("playbooks reloaded", "playbooks", len(set.Playbooks()), "added", news.added, "changed", news.changed, "removed", news.removed)
	}
	return nil
}

// emptied is an error when the folder held playbooks and holds none any more. That is
// what a mount leaves behind that has gone, and nobody may be left without protection
// by that.
func emptied(cfg *config.Config, old, set *playbooks.Set) error {
	if len(set.Playbooks()) > shipped(cfg) || len(old.Playbooks()) <= shipped(cfg) {
		return nil
	}
	return fmt.Errorf("%s: holds no playbook any more; if that is meant, say so with erbridge reload", cfg.Playbooks.Dir)
}

// shipped is how many playbooks of the library are used.
func shipped(cfg *config.Config) int {
	if slices.Contains(cfg.Playbooks.Library, "all") {
		return len(config.LibraryNames())
	}
	return len(cfg.Playbooks.Library)
}

// refused notes that the playbooks on disk cannot be used.
func (d *Daemon) refused(err error) {
	d.health.refusedPlaybooks(err, d.o.Now())
	d.reloads.WithLabelValues("refused").Inc()
}

// taken notes that the playbooks on disk are those in force, and says what is new.
func (d *Daemon) taken(old, set *playbooks.Set) difference {
	news := compare(old, set)
	if news.mended = d.health.tookPlaybooks(); news.any() {
		d.reloads.WithLabelValues("taken").Inc()
	}
	return news
}

// difference names the playbooks in which two sets differ.
type difference struct {
	added, changed, removed []string
	mended                  bool // what is on disk was refused before
}

func (d difference) any() bool { return d.mended || len(d.added)+len(d.changed)+len(d.removed) > 0 }

func compare(old, set *playbooks.Set) (d difference) {
	for _, p := range set.Playbooks() {
		switch before := old.Get(p.Name); {
		case before == nil:
			d.added = append(d.added, p.Name)
		case before.Hash != p.Hash:
			d.changed = append(d.changed, p.Name)
		}
	}
	for _, p := range old.Playbooks() {
		if set.Get(p.Name) == nil {
			d.removed = append(d.removed, p.Name)
		}
	}
	return d
}
