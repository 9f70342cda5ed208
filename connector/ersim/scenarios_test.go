package ersim

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// playAll performs a scenario and everything that follows from it.
func playAll(t *testing.T, r *rig, name string, d time.Duration) {
	t.Helper()
	p, err := r.s.begins(name)
	if err != nil {
		t.Fatal(err)
	}
	r.wait(d)
	select {
	case <-p.done:
	default:
		t.Fatalf("%s is not over after %v", name, d)
	}
}

// TestScenariosRaiseWhatTheySay compares the alerts with those that the steps name.
func TestScenariosRaiseWhatTheySay(t *testing.T) {
	for _, tt := range []struct {
		name   string
		alerts map[string]int
	}{
		{"ransomware", map[string]int{
			"Office starts a shell": 1, "Shadow copies deleted": 2, "Boot recovery disabled": 1, "Mass file rename": 1,
		}},
		{"lotl", map[string]int{
			"Mshta runs a remote script": 1, "Encoded PowerShell": 1, "Rare domain looked up": 1, "Script host connects out": 1,
			"Certutil download": 1, "Run key written": 1, "Remote thread created": 1, "Unsigned library loaded": 1,
		}},
		{"ioc", map[string]int{"ioc": 3, "virustotal": 1}},
		{"noise", map[string]int{"Administrator logon+Software installed": 40}},
		{"failures", map[string]int{"Credential dumping": 4}},
		{"persistence", map[string]int{"Run key written": 2, "Service installed": 2, "Scheduled task created": 2}},
		{"credentials", map[string]int{"Memory of lsass opened": 2, "Logon failed": 7}},
		{"webshell", map[string]int{"Web server starts a program": 2}},
		{"defender", map[string]int{"Event of Defender": 2, "State of antivirus": 2}},
		{"exfiltration", map[string]int{"Files on another drive": 2}},
		{"silence", map[string]int{"Event log cleared": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Options{Seed: 11})
			playAll(t, r, tt.name, 10*time.Second)
			got := map[string]int{}
			hosts := map[string]bool{}
			for _, a := range r.s.Alerts() {
				key := a.Rule
				switch {
				case a.Rule == "":
					key = a.Source
				case tt.name == "noise":
					key = "Administrator logon+Software installed"
				}
				got[key]++
				hosts[a.Host] = true
				if a.Rule == "Mass file rename" && a.EventCount != 19 {
					t.Errorf("%d events aggregated", a.EventCount)
				}
			}
			if !maps.Equal(got, tt.alerts) {
				t.Errorf("got %v, want %v", got, tt.alerts)
			}
			if (tt.name == "ioc" || tt.name == "failures") && len(hosts) < 3 {
				t.Errorf("only on %d hosts", len(hosts))
			}
			if summary, steps := r.s.DescribeScenario(tt.name); summary == "" || len(steps) == 0 {
				t.Error("not described")
			}
		})
	}
}

func TestContainmentStopsTheSpread(t *testing.T) {
	r := newRig(t, Options{Seed: 11})
	p, err := r.s.begins("ransomware")
	if err != nil {
		t.Fatal(err)
	}
	r.wait(2 * time.Second)
	first := r.s.Alerts()[0].Host
	r.call("POST", "/response/add", obj{"target": "ip_connection", "action": "contain", "actuator_id": first, "rule_name": "isolate"})
	r.wait(8 * time.Second)
	<-p.done
	for _, a := range r.s.Alerts() {
		if a.Host != first {
			t.Errorf("%s on %s", a.Rule, a.HostName)
		}
	}
}

// TestSeedDecidesEverything runs two servers through the same story.
func TestSeedDecidesEverything(t *testing.T) {
	dump := func(seed uint64) string {
		r := newRig(t, Options{Seed: seed, Hosts: 20})
		for _, name := range r.s.Scenarios() {
			playAll(t, r, name, 8*time.Second)
		}
		if err := r.s.RaiseLoad(AlertSpec{}, 50, 20); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Second)
		for _, a := range r.s.Alerts() {
			r.call("POST", "/response/add", obj{"target": "process", "action": "stop", "actuator_id": a.Host, "pid": a.Columns["pid"]})
		}
		r.call("POST", "/distributed/add", obj{"query": "select * from carves where path like '%hosts' and carve = 1", "tags": "server"})
		r.wait(5 * time.Second)
		state := r.s.State()
		if len(state.Carves) == 0 || len(state.Commands) < 50 {
			t.Fatalf("%d carves, %d commands", len(state.Carves), len(state.Commands))
		}
		text, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	one, again, other := dump(42), dump(42), dump(43)
	if one != again {
		at := 0
		for one[at] == again[at] {
			at++
		}
		t.Errorf("the same seed gave %.300s\nand %.300s", one[max(0, at-100):], again[max(0, at-100):])
	}
	if one == other {
		t.Error("another seed gave the same")
	}
}

func TestUnknownScenario(t *testing.T) {
	s := newServer(t, Options{})
	err := s.Play(t.Context(), "nosuch")
	if err == nil || !strings.Contains(err.Error(), "ransomware") {
		t.Errorf("got %v", err)
	}
	if names := s.Scenarios(); !slices.Contains(names, "failures") || len(names) != 11 {
		t.Error(names)
	}
}
