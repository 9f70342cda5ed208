package ersim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultKind is a way in which things go wrong.
type FaultKind string

// The kinds of faults of calls: they hit the calls that match Call and Path.
const (
	RateLimit   FaultKind = "rate-limit"   // 429 with Retry-After, nothing done
	Unavailable FaultKind = "unavailable"  // 503 with Retry-After, nothing done
	ServerError FaultKind = "error"        // 500, nothing done
	HTMLAnswer  FaultKind = "html"         // 200 text/html, nothing done
	SlowPage    FaultKind = "slow"         // answered after Delay, while Run runs
	DropBefore  FaultKind = "drop-before"  // connection closed, nothing done
	DropAfter   FaultKind = "drop-after"   // connection closed, but it was done
	Truncate    FaultKind = "truncate"     // done, and half of the body sent
	ExpireToken FaultKind = "expire-token" // all tokens end just before the call
	ShiftPages  FaultKind = "shift-pages"  // an alert arrives before a later page is served, which repeats a row
)

// The kinds of faults of endpoints and alerts. They need no call.
const (
	LateAlert        FaultKind = "late-alert"        // the next alert gets its id, and shows after one with a higher id was served, or after Delay
	HostOffline      FaultKind = "offline"           // Host goes offline at once, for Delay or for good
	ResponseDisabled FaultKind = "response-disabled" // Host refuses actions at once, for Delay or for good
	CommandFails     FaultKind = "command-fails"     // the next command of Host fails with Message
	CommandStuck     FaultKind = "command-stuck"     // the next command of Host never ends
	CarveStuck       FaultKind = "carve-stuck"       // the next carve of Host stops after its first block, for Delay or for good
	CarveJunk        FaultKind = "carve-junk"        // the next carve of Host is no archive
	CarveSize        FaultKind = "carve-size"        // the list tells twice the size of the next carve of Host
	CommandIdle      FaultKind = "command-idle"      // the next command of Host does nothing, and reports success
)

var faultKinds = []FaultKind{
	RateLimit, Unavailable, ServerError, HTMLAnswer, SlowPage, DropBefore, DropAfter, Truncate, ExpireToken, ShiftPages,
	LateAlert, HostOffline, ResponseDisabled, CommandFails, CommandStuck, CommandIdle,
	CarveStuck, CarveJunk, CarveSize,
}

// Fault is one thing that shall go wrong.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Call is the id of the endpoint in the catalogue, such as alerts-list, or a
	// pattern such as response-*; empty matches all, login included.
	Call string `json:"call,omitempty"`
	// Path is how the path below the API's base begins; empty matches all.
	Path string `json:"path,omitempty"`
	// Host is the identifier or name of an endpoint; for commands and carves empty means any.
	Host string `json:"host,omitempty"`
	// After lets so many matching calls through first.
	After int `json:"after,omitempty"`
	// Count is how often it happens: 0 means once, below 0 until ClearFaults.
	Count int `json:"count,omitempty"`
	// Delay is how long a slow page takes, the wait that Retry-After asks for
	// (rounded up to seconds, default 1), or how long the state of a host or carve lasts.
	Delay time.Duration `json:"delay,omitempty"`
	// Message is what a failing command reports; default SIMULATED_FAILURE.
	Message string `json:"message,omitempty"`
}

// UnmarshalJSON reads the delay as text ("2s").
func (f *Fault) UnmarshalJSON(data []byte) error {
	type bare Fault
	in := struct {
		*bare
		Delay string `json:"delay"`
	}{bare: (*bare)(f)}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return err
	}
	if in.Delay == "" {
		return nil
	}
	var err error
	f.Delay, err = time.ParseDuration(in.Delay)
	return err
}

// Inject makes something go wrong. An unknown kind or pattern, or a host that does
// not exist, does nothing but leave a warning in the log; the control API refuses it.
func (s *Server) Inject(f Fault) {
	if err := s.inject(f); err != nil {
		s.log.Warn("fault ignored", "err", err)
	}
}

func (s *Server) inject(f Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.host(f.Host)
	if _, err := path.Match(f.Call, ""); err != nil {
		return fmt.Errorf("call %q: %w", f.Call, err)
	}
	switch {
	case !slices.Contains(faultKinds, f.Kind):
		return fmt.Errorf("unknown kind of fault %q", f.Kind)
	case h == nil && (f.Host != "" || f.Kind == HostOffline || f.Kind == ResponseDisabled):
		return fmt.Errorf("no host %q", f.Host)
	case f.Kind == HostOffline:
		s.setOnline(h, false)
		if f.Delay > 0 {
			s.after(f.Delay, func() { s.setOnline(h, true) })
		}
		return nil
	case f.Kind == ResponseDisabled:
		h.response = false
		if f.Delay > 0 {
			s.after(f.Delay, func() { h.response = true })
		}
		return nil
	}
	f.Count = max(f.Count, -1)
	if f.Count == 0 {
		f.Count = 1
	}
	s.faults = append(s.faults, &f)
	return nil
}

// ClearFaults ends all faults that wait for a call, an alert or a command.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// take is the first fault that matches, used up by one.
func (s *Server) take(match func(*Fault) bool) *Fault {
	for i, f := range s.faults {
		if !match(f) {
			continue
		}
		if f.After > 0 {
			f.After--
			continue
		}
		if f.Count > 0 {
			f.Count--
		}
		if f.Count == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return f
	}
	return nil
}

// effect is what a fault does to one call. The zero effect does nothing.
type effect struct {
	server    *Server
	fault     Fault
	dropAfter bool
	truncate  bool
}

// meet counts a call and finds out what shall go wrong with it.
func (s *Server) meet(id, callPath string) *effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[id]++
	e := &effect{server: s}
	f := s.take(func(f *Fault) bool {
		matched, _ := path.Match(defaultText(f.Call, "*"), id) // the pattern was checked
		switch f.Kind {
		case LateAlert, ShiftPages, CommandFails, CommandStuck, CommandIdle, CarveStuck, CarveJunk, CarveSize:
			return false
		}
		return matched && strings.HasPrefix(callPath, f.Path)
	})
	if f == nil {
		return e
	}
	e.fault = *f
	switch f.Kind {
	case DropAfter:
		e.dropAfter = true
	case Truncate:
		e.truncate = true
	case ExpireToken:
		s.expireTokens()
	}
	return e
}

// before does what happens ahead of the call; an answer takes the call's place.
func (e *effect) before(w http.ResponseWriter, r *http.Request) *answer {
	switch e.fault.Kind {
	case RateLimit, Unavailable:
		seconds := max(1, int((e.fault.Delay+time.Second-1)/time.Second))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		if e.fault.Kind == RateLimit {
			return refuse(plain(http.StatusTooManyRequests, "Too many requests"))
		}
		return refuse(plain(http.StatusServiceUnavailable, "Service Unavailable"))
	case ServerError:
		return refuse(e.server.crash())
	case HTMLAnswer:
		return refuse(console)
	case DropBefore:
		panic(http.ErrAbortHandler)
	case SlowPage:
		e.wait(r)
	}
	return nil
}

// wait lasts as long as the fault says, on the server's clock.
func (e *effect) wait(r *http.Request) {
	over := make(chan struct{})
	e.server.mu.Lock()
	e.server.after(e.fault.Delay, func() { close(over) })
	e.server.mu.Unlock()
	select {
	case <-over:
	case <-r.Context().Done():
	}
}

// after does what happens once the call took effect.
func (e *effect) after() {
	if e.dropAfter {
		panic(http.ErrAbortHandler)
	}
}

// shiftPages raises an alert, as it may happen between two pages, if such a fault
// waits.
func (s *Server) shiftPages() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.take(func(f *Fault) bool { return f.Kind == ShiftPages }) == nil {
		return
	}
	s.raise(AlertSpec{Rule: "Administrator logon", Separate: true, Detached: true})
}

// lateFault reports whether the alert that is being raised shall be late. The
// caller holds it back; with a delay it is committed here when that is over.
func (s *Server) lateFault() bool {
	f := s.take(func(f *Fault) bool { return f.Kind == LateAlert })
	if f == nil {
		return false
	}
	if f.Delay > 0 {
		s.after(f.Delay, func() {
			if len(s.held) > 0 {
				s.releaseHeld(s.lastAlert + 1)
			}
		})
	}
	return true
}

// commandFault is what shall go wrong with a command of a host, or nil.
func (s *Server) commandFault(h *host) *Fault {
	return s.take(func(f *Fault) bool {
		return (f.Kind == CommandFails || f.Kind == CommandStuck || f.Kind == CommandIdle) && (f.Host == "" || s.host(f.Host) == h)
	})
}

// carveFault reports whether a thing shall go wrong with a carve of a host, and what.
func (s *Server) carveFault(h *host, kind FaultKind) *Fault {
	return s.take(func(f *Fault) bool { return f.Kind == kind && (f.Host == "" || s.host(f.Host) == h) })
}

// Calls is how often each endpoint was called, by its id in the catalogue; calls of
// paths that do not exist count as unknown.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]int, len(s.calls))
	for id, n := range s.calls {
		counts[id] = n
	}
	return counts
}
