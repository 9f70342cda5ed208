package ersim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// State is everything that the simulator holds, for dumps and for scripts in
// another process.
type State struct {
	Profile  string          `json:"profile"`
	Hosts    []HostState     `json:"hosts,omitempty"`
	Alerts   []AlertState    `json:"alerts,omitempty"`
	Commands []CommandRecord `json:"commands,omitempty"`
	Carves   []CarveState    `json:"carves,omitempty"`
	Calls    map[string]int  `json:"calls"`
	Planned  int             `json:"planned"` // things that will still happen by themselves: commands, scenario steps, load
}

// CarveState is a carve as it is now.
type CarveState struct {
	SessionID string `json:"session_id"`
	Host      string `json:"host"` // identifier
	QueryID   int64  `json:"query_id,omitempty"`
	Status    string `json:"status"`
	Size      int    `json:"size"`
	Received  int    `json:"received"` // blocks
	Blocks    int    `json:"blocks"`
}

// State takes a picture of everything.
func (s *Server) State() State {
	return State{
		Profile: s.profile.name, Hosts: s.Hosts(), Alerts: s.Alerts(), Commands: s.Commands(), Carves: s.Carves(),
		Calls: s.Calls(), Planned: s.planned(),
	}
}

// Carves is every carve that was started and not deleted, oldest first.
func (s *Server) Carves() []CarveState {
	s.mu.Lock()
	defer s.mu.Unlock()
	var states []CarveState
	for _, c := range s.carves {
		states = append(states, CarveState{c.session, c.host.identifier, c.query, c.status, len(c.data), c.received, c.blocks()})
	}
	return states
}

func (s *Server) planned() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.schedule.Len()
}

// controlHandler is the control API: plain HTTP on loopback, for scripts and for
// tests in another process. It has no authentication.
//
//	POST /sim/raise                  AlertSpec, or a load: {"count": 5000, "rate": 200, ...}
//	POST /sim/play                   {"scenario": "ransomware", "wait": true}
//	GET  /sim/scenarios              names, summaries and steps
//	POST /sim/fault                  Fault; DELETE clears all
//	POST /sim/hosts/{host}/online    {"online": false}
//	POST /sim/hosts/{host}/response  {"enabled": false}
//	POST /sim/push                   {"address": "127.0.0.1:5514"}
//	POST /sim/rows                   ResultRows: {"host": "1", "query": "win_dns_events", "rows": [{"domain_name": "example.org"}]}
//	GET  /sim/state                  State; ?without=alerts,hosts leaves parts out
//	GET  /sim/calls                  calls per endpoint
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sim/raise", s.controlRaise)
	mux.HandleFunc("POST /sim/play", s.controlPlay)
	mux.HandleFunc("GET /sim/scenarios", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, scenarioList()) })
	mux.HandleFunc("POST /sim/fault", s.controlFault)
	mux.HandleFunc("DELETE /sim/fault", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		reply(w, http.StatusOK, obj{})
	})
	mux.HandleFunc("POST /sim/hosts/{host}/online", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Online bool `json:"online"`
		}
		s.controlHost(w, r, &in, func(ref string) bool { return s.SetOnline(ref, in.Online) })
	})
	mux.HandleFunc("POST /sim/hosts/{host}/response", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Enabled bool `json:"enabled"`
		}
		s.controlHost(w, r, &in, func(ref string) bool { return s.SetResponseEnabled(ref, in.Enabled) })
	})
	mux.HandleFunc("POST /sim/push", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Address string `json:"address"`
		}
		if readControl(w, r, &in) {
			s.SetPushAddress(in.Address)
			reply(w, http.StatusOK, obj{})
		}
	})
	mux.HandleFunc("POST /sim/rows", func(w http.ResponseWriter, r *http.Request) {
		var in ResultRows
		if !readControl(w, r, &in) {
			return
		}
		if err := s.PushRows(in); err != nil {
			reply(w, http.StatusBadRequest, obj{"error": err.Error()})
			return
		}
		reply(w, http.StatusAccepted, obj{"rows": len(in.Rows)})
	})
	mux.HandleFunc("GET /sim/state", s.controlState)
	mux.HandleFunc("GET /sim/calls", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.Calls()) })
	return mux
}

// readControl decodes the body; false means that the mistake has been answered.
func readControl(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(io.LimitReader(r.Body, maxBodyBytes))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		reply(w, http.StatusBadRequest, obj{"error": err.Error()})
		return false
	}
	return true
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the client went away: nothing is left to tell it
}

func (s *Server) controlHost(w http.ResponseWriter, r *http.Request, in any, do func(ref string) bool) {
	if !readControl(w, r, in) {
		return
	}
	if ref := r.PathValue("host"); !do(ref) {
		reply(w, http.StatusNotFound, obj{"error": fmt.Sprintf("no host %q", ref)})
		return
	}
	reply(w, http.StatusOK, obj{})
}

const nothingRaised = "no such active host, no such source, or the rule is disabled"

func (s *Server) controlRaise(w http.ResponseWriter, r *http.Request) {
	var in struct {
		AlertSpec
		Count int     `json:"count"`
		Rate  float64 `json:"rate"`
	}
	if !readControl(w, r, &in) {
		return
	}
	if in.Count == 0 {
		id := s.Raise(in.AlertSpec)
		if id == 0 {
			reply(w, http.StatusNotFound, obj{"error": nothingRaised})
			return
		}
		reply(w, http.StatusOK, obj{"id": id})
		return
	}
	if err := s.RaiseLoad(in.AlertSpec, in.Count, in.Rate); err != nil {
		reply(w, http.StatusBadRequest, obj{"error": err.Error()})
		return
	}
	reply(w, http.StatusAccepted, obj{"count": in.Count})
}

func (s *Server) controlPlay(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Scenario string `json:"scenario"`
		Wait     bool   `json:"wait"`
	}
	if !readControl(w, r, &in) {
		return
	}
	p, err := s.begins(in.Scenario)
	if err != nil {
		reply(w, http.StatusNotFound, obj{"error": err.Error()})
		return
	}
	if !in.Wait {
		reply(w, http.StatusAccepted, obj{})
		return
	}
	if err := p.wait(r.Context()); err != nil {
		return // the client went away
	}
	reply(w, http.StatusOK, obj{})
}

func (s *Server) controlFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if !readControl(w, r, &f) {
		return
	}
	if err := s.inject(f); err != nil {
		reply(w, http.StatusBadRequest, obj{"error": err.Error()})
		return
	}
	reply(w, http.StatusOK, obj{})
}

func (s *Server) controlState(w http.ResponseWriter, r *http.Request) {
	state := State{Profile: s.profile.name, Calls: s.Calls(), Planned: s.planned()}
	without := "," + r.URL.Query().Get("without") + ","
	if !strings.Contains(without, ",hosts,") {
		state.Hosts = s.Hosts()
	}
	if !strings.Contains(without, ",alerts,") {
		state.Alerts = s.Alerts()
	}
	if !strings.Contains(without, ",commands,") {
		state.Commands = s.Commands()
	}
	if !strings.Contains(without, ",carves,") {
		state.Carves = s.Carves()
	}
	reply(w, http.StatusOK, state)
}

// RaiseLoad raises count alerts, each with a process of its own and on the next
// host of the fleet in turn unless spec names one. Rate is alerts per second; 0
// raises all before it returns, otherwise they come while Run runs.
func (s *Server) RaiseLoad(spec AlertSpec, count int, rate float64) error {
	if count < 1 || rate < 0 {
		return fmt.Errorf("a load of %d alerts at %g a second is not possible", count, rate)
	}
	spec.Separate = true
	s.mu.Lock()
	defer s.mu.Unlock()
	one := func(i int) int64 {
		next := spec
		if next.Host == "" && len(s.hosts) > 0 {
			next.Host = s.hosts[i%len(s.hosts)].identifier
		}
		return s.raise(next)
	}
	if rate == 0 {
		for i := range count {
			if one(i) == 0 {
				return errors.New(nothingRaised)
			}
		}
		return nil
	}
	begin, done := s.now(), 0
	var more func()
	more = func() {
		// What is due by now, so that a late wake-up does not slow the load down; at
		// least one, however the division rounds.
		due := min(count, max(done+1, 1+int(s.now().Sub(begin).Seconds()*rate)))
		for ; done < due; done++ {
			one(done)
		}
		if done < count {
			s.after(begin.Add(time.Duration(float64(done)/rate*float64(time.Second))).Sub(s.now()), more)
		}
	}
	s.after(0, more)
	return nil
}
