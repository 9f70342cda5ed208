package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/console"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks/guard"
	"github.com/erbridge/erbridge/sinks"
)

// health gathers what /readyz says.
type health struct {
	version string

	mu    sync.Mutex // guards everything below
	phase string     // why the daemon as a whole is not ready; empty while it runs
	login error
	// refused is why the playbooks on disk are not those in force, and since when; nil
	// when they are.
	refused      error
	refusedSince time.Time
	store        *store.Store
	paused       func() *guard.Thrown // nil: nobody knows
	parts        func() ([]*sinkPart, *connector.Poller)
}

var errNotYet = errors.New("not logged in yet")

func newHealth(version string) *health {
	return &health{version: version, phase: "starting", login: errNotYet}
}

func (h *health) use(st *store.Store, parts func() ([]*sinkPart, *connector.Poller)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store, h.parts = st, parts
}

func (h *health) started() { h.set("") }

func (h *health) stopping() { h.set("stopping") }

func (h *health) set(phase string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phase = phase
}

func (h *health) loggedIn(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.login = err
}

// refusedPlaybooks notes why the playbooks on disk cannot be used. It is one refusal
// until they can be.
func (h *health) refusedPlaybooks(why error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused == nil {
		h.refusedSince = now
	}
	h.refused = why
}

// tookPlaybooks ends a refusal, and reports whether there was one.
func (h *health) tookPlaybooks() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	mended := h.refused != nil
	h.refused = nil
	return mended
}

// playbooksRefused is 1 while there is a refusal.
func (h *health) playbooksRefused() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused != nil {
		return 1
	}
	return 0
}

// refusal is one line about a refusal: the first mistake, and how many there are.
func (h *health) refusal() string {
	first, rest, _ := strings.Cut(h.refused.Error(), "\n")
	if rest != "" {
		first += fmt.Sprintf(" (and %d more)", 1+strings.Count(rest, "\n"))
	}
	return fmt.Sprintf("what is on disk is refused since %s, and what was loaded before stays in force: %s", h.refusedSince.UTC().Format(time.RFC3339), first)
}

// readiness names what keeps alerts from being worked on (missing) and what
// needs a person while work goes on (warnings). A sink that is paused keeps its
// events and holds nobody up: that is a warning.
func (h *health) readiness(context.Context) console.Readiness {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := console.Readiness{Version: h.version, Missing: map[string]string{}, Warnings: map[string]string{}}
	if h.phase != "" {
		r.Missing["daemon"] = h.phase
	}
	if h.store != nil {
		if err := h.store.Health(); err != nil {
			r.Missing["store"] = err.Error()
		}
	}
	if h.login != nil {
		r.Missing["server"] = h.login.Error()
	}
	if h.refused != nil {
		r.Warnings["playbooks"] = h.refusal()
	}
	if h.paused != nil {
		if t := h.paused(); t != nil {
			r.Warnings["kill switch"] = t.String() + "; no call with an effect is sent"
		}
	}
	if h.parts != nil {
		sinkParts, poller := h.parts()
		if poller != nil && h.phase == "" {
			switch s := poller.Status(); {
			case s.LastError != "":
				r.Missing["source poll"] = s.LastError
			case s.LastSuccess.IsZero():
				r.Missing["source poll"] = "has not read the alert list yet"
			}
		}
		for _, s := range sinkParts {
			status := s.forwarder.Status()
			switch {
			case s.left.Load():
				r.Warnings["sink "+s.name] = fmt.Sprintf("not running, %d events wait: %s", status.Backlog, leftReason)
			case status.Held != nil:
				r.Warnings["sink "+s.name] = fmt.Sprintf("paused by %s, %d events wait: %s", status.Held.By, status.Backlog, status.Held.Reason)
			case status.State != sinks.StateOK && status.State != sinks.StateRecovering:
				r.Warnings["sink "+s.name] = fmt.Sprintf("%s, %d events wait: %s", status.State, status.Backlog, status.LastError)
			case status.OverBacklog:
				r.Warnings["sink "+s.name] = fmt.Sprintf("%d events wait: more than max_backlog", status.Backlog)
			}
		}
	}
	r.Ready = len(r.Missing) == 0
	return r
}

// loginPatience bounds the first login, which the rest of the start waits for.
const loginPatience = 10 * time.Second

// maxLoginWait bounds the wait between two tries to log in.
const maxLoginWait = time.Minute

// login logs in and notes how it went. The error wraps
// connector.ErrBadCredentials when trying again is of no use.
func (d *Daemon) login(ctx context.Context) error {
	err := d.client.Login(ctx)
	d.health.loggedIn(err)
	if errors.Is(err, connector.ErrBadCredentials) {
		return fmt.Errorf("the server %s refuses user %q with this password: %w", d.first.Server.URL, d.first.Server.Username, err)
	}
	return err
}

// keepLogin tries until a login succeeds, and logs out at the end. In between,
// the client renews the login by itself.
func (d *Daemon) keepLogin(ctx context.Context) error {
	for wait := time.Second; !d.health.isLoggedIn(); wait = min(2*wait, maxLoginWait) {
		err := d.login(ctx)
		switch {
		case err == nil:
			continue
		case errors.Is(err, connector.ErrBadCredentials):
			return err
		}
		d.log.Warn("server is out of reach", "server", d.first.Server.URL, "err", err, "again_in", wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	<-ctx.Done()
	// The token is worth withdrawing although ctx has ended; not worth waiting for.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := d.client.Logout(last); err != nil {
		d.log.Debug("logout", "err", err)
	}
	return ctx.Err()
}

func (h *health) isLoggedIn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.login == nil
}
