package guard

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// server is a host of which everything is known.
func server() Host {
	return Host{
		ID: "8A2F-01", Name: "DC01.corp.example", Platform: "windows", OS: "Microsoft Windows Server 2019 Standard", Known: true,
		Addresses: []string{"10.1.2.3"}, Tags: []string{"Crown-Jewel", "site.berlin"},
		Facts: map[string]any{"name": "DC01.corp.example", "os_version": "10.0.17763", "tags": []any{"Crown-Jewel", "site.berlin"}, "ip": "10.1.2.3"},
	}
}

func (h Host) with(change func(h *Host)) Host { change(&h); return h }

func compiled(t *testing.T, m Match) matcher {
	t.Helper()
	var wrong mistakes
	out := m.read([]string{"match"}, &wrong)
	if len(wrong) > 0 {
		t.Fatal(errors.Join(wrong...))
	}
	return out
}

func TestMatch(t *testing.T) {
	linux := Host{ID: "l", Name: "web-7", Platform: "ubuntu", OS: "Ubuntu", Addresses: []string{"192.0.2.7"}, Known: true, Facts: map[string]any{"name": "web-7"}}
	laptop := Host{ID: "w", Name: "pc-7", Platform: "windows", OS: "Microsoft Windows 11 Enterprise", Addresses: []string{"fe80::1%eth0"}, Known: true, Facts: map[string]any{"name": "pc-7"}}
	mac := Host{ID: "m", Name: "mac-7", Platform: "darwin", OS: "macOS", Known: true, Facts: map[string]any{"name": "mac-7"}}
	blank := Host{ID: "b", Known: true, Facts: map[string]any{"id": 1.0}}
	for _, tt := range []struct {
		name  string
		match Match
		host  Host
		want  holds
		words string
	}{
		{"tag", Match{Tags: []string{"crown-jewel"}}, server(), yes, `its tag "Crown-Jewel" fits "crown-jewel"`},
		{"tag pattern", Match{Tags: []string{"site.*"}}, server(), yes, "site.berlin"},
		{"another tag", Match{Tags: []string{"crown"}}, server(), no, ""},
		{"no tags", Match{Tags: []string{"crown-jewel"}}, linux, no, ""},
		{"id", Match{IDs: []string{"8a2f-*"}}, server(), yes, "identifier"},
		{"name", Match{Names: []string{"dc*"}}, server(), yes, `its name "DC01.corp.example" fits "dc*"`},
		{"short name", Match{Names: []string{"dc??"}}, server(), yes, `its name "DC01" fits`},
		{"whole name", Match{Names: []string{"*.corp.example"}}, server(), yes, ""},
		{"name with a dot behind it", Match{Names: []string{"*.corp.example"}}, server().with(func(h *Host) { h.Name += "." }), yes, ""},
		{"another name", Match{Names: []string{"dc"}}, server(), no, ""},
		{"name with a slash", Match{Names: []string{"dc*"}}, server().with(func(h *Host) { h.Name = "dc/../x" }), yes, ""},
		{"brackets are letters", Match{Names: []string{"[d]c*"}}, server(), no, ""},
		{"no name", Match{Names: []string{"dc*"}}, blank, maybe, "its name is not known"},
		{"platform", Match{Platforms: []string{"Windows"}}, server(), yes, ""},
		{"distribution", Match{Platforms: []string{"ubuntu"}}, linux, yes, ""},
		{"linux is every distribution", Match{Platforms: []string{"linux"}}, linux, yes, ""},
		{"mac is no linux", Match{Platforms: []string{"linux"}}, mac, no, ""},
		{"no platform", Match{Platforms: []string{"linux"}}, blank, maybe, "its platform is not known"},
		{"os", Match{OS: []string{"*server 20*"}}, server(), yes, ""},
		{"another os", Match{OS: []string{"*server 20*"}}, laptop, no, ""},
		{"network", Match{Networks: []string{"10.1.0.0/16"}}, server(), yes, "its address 10.1.2.3 is in 10.1.0.0/16"},
		{"network, IPv4 in IPv6 form", Match{Networks: []string{"10.1.0.0/16"}}, server().with(func(h *Host) { h.Addresses = []string{"::ffff:10.1.2.3"} }), yes, ""},
		{"network given in IPv6 form", Match{Networks: []string{"::ffff:10.1.0.0/112"}}, server(), yes, ""},
		{"one address", Match{Networks: []string{"10.1.2.3"}}, server(), yes, ""},
		{"address with a zone", Match{Networks: []string{"fe80::/10"}}, laptop, yes, ""},
		{"another network", Match{Networks: []string{"10.2.0.0/16"}}, server(), no, ""},
		{"no address", Match{Networks: []string{"10.1.0.0/16"}}, mac, maybe, "its address is not known"},
		{"an address that is none", Match{Networks: []string{"10.2.0.0/16"}}, server().with(func(h *Host) { h.Addresses = []string{"10.9.9.9", "dunno"} }), maybe, ""},
		{"role server", Match{Roles: []string{"server"}}, server(), yes, "Server 2019"},
		{"role server, laptop", Match{Roles: []string{"server"}}, laptop, no, ""},
		{"role server, linux", Match{Roles: []string{"server"}}, linux, maybe, "servers and workstations"},
		{"role server by tag", Match{Roles: []string{"server"}}, laptop.with(func(h *Host) { h.Tags = []string{"Server"} }), yes, "tag"},
		{"role dc", Match{Roles: []string{"domain-controller"}}, server(), maybe, "may be a domain controller"},
		{"role dc by tag", Match{Roles: []string{"domain-controller"}}, server().with(func(h *Host) { h.Tags = []string{"DC"} }), yes, `it has the tag "DC"`},
		{"role dc, laptop", Match{Roles: []string{"domain-controller"}}, laptop, no, ""},
		{"role dc, linux", Match{Roles: []string{"domain-controller"}}, linux, no, ""},
		{"role dc, some windows", Match{Roles: []string{"domain-controller"}}, laptop.with(func(h *Host) { h.OS = "" }), maybe, ""},
		{"role workstation, laptop", Match{Roles: []string{"workstation"}}, laptop, yes, ""},
		{"role workstation, mac", Match{Roles: []string{"workstation"}}, mac, yes, ""},
		{"role workstation, server", Match{Roles: []string{"workstation"}}, server(), no, ""},
		{"a tag takes no role away", Match{Roles: []string{"server"}}, server().with(func(h *Host) { h.Tags = []string{"workstation"} }), yes, ""},
		{"role, nothing known", Match{Roles: []string{"workstation"}}, blank, maybe, "operating system is not known"},
		{"one of two roles", Match{Roles: []string{"workstation", "server"}}, server(), yes, ""},
		{"jq", Match{JQ: `.os_version | startswith("10.0.1")`}, server(), yes, "its jq holds"},
		{"jq, not", Match{JQ: `.os_version == "x"`}, server(), no, ""},
		{"jq that fails", Match{JQ: `.os_version | startswith("10.0.1")`}, linux, maybe, "its jq cannot be evaluated"},
		{"jq that says nothing", Match{JQ: `empty`}, server(), maybe, ""},
		{"jq that says too much", Match{JQ: `true, false`}, server(), maybe, ""},
		{"jq without end", Match{JQ: `def f: f; f`}, server(), maybe, ""},
		{"jq that grows", Match{JQ: `[range(1e9)] | length > 5`}, server(), maybe, ""},
		{"jq on a host without a record", Match{JQ: `.name == "x"`}, Host{ID: "x", Known: true}, no, ""},
		{"all settings have to hold", Match{Tags: []string{"crown-jewel"}, Names: []string{"web*"}}, server(), no, ""},
		{"and do", Match{Tags: []string{"crown-jewel"}, Names: []string{"dc*"}}, server(), yes, `its tag "Crown-Jewel" fits "crown-jewel", its name`},
		{"what is not known does not speak against it", Match{Tags: []string{"crown-jewel"}, Names: []string{"dc*"}}, server().with(func(h *Host) { h.Name = "" }), maybe, ""},
		{"what is known does", Match{Tags: []string{"other"}, Names: []string{"dc*"}}, server().with(func(h *Host) { h.Name = "" }), no, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is, words := compiled(t, tt.match).of(&tt.host)
			if is != tt.want || !strings.Contains(words, tt.words) {
				t.Errorf("got %d %q, want %d %q", is, words, tt.want, tt.words)
			}
			if is == no && words != "" || is != no && words == "" {
				t.Errorf("%d is told as %q", is, words)
			}
		})
	}
}

func TestFits(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"**", "", true}, {"?", "", false}, {"a", "", false}, {"", "a", false},
		{"DC*", "dc-1", true}, {"*dc", "dcdc", true}, {"*dc", "dcd", false}, {"a*b*c", "a--b--b-c", true}, {"a*b*c", "a--c--b", false},
		{"h?st", "höst", true}, {`\*`, `\x`, true}, {"a.c", "abc", false}, {"[a-z]", "b", false}, {"K*", "Kelvin", true},
	} {
		if got := fits(tt.pattern, tt.text); got != tt.want {
			t.Errorf("fits(%q, %q) = %v", tt.pattern, tt.text, got)
		}
	}
}

// A pattern that backtracks costs the product of both lengths, not more.
func TestHostilePattern(t *testing.T) {
	done := make(chan bool, 1)
	go func() { done <- fits(strings.Repeat("a*", 200)+"b", strings.Repeat("a", 20_000)) }()
	select {
	case got := <-done:
		if got {
			t.Error("it fits")
		}
	case <-time.After(time.Minute):
		t.Fatal("the pattern takes for ever")
	}
}

func FuzzFits(f *testing.F) {
	f.Add("dc*", "dc01")
	f.Add("*?*", "\xff\x00")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 100 || len(text) > 1000 {
			return
		}
		if !fits("*", text) || !fits("*"+text+"*", text) {
			t.Errorf("a pattern does not fit what it says: %q", text)
		}
		fits(pattern, text)
	})
}

// Every mistake in the settings is told, with its place and what to write.
func TestMistakes(t *testing.T) {
	s := Settings{
		Protected: []Protection{
			{Name: "", Match: Match{Tags: []string{"x"}}},
			{Name: "nothing"},
			{Name: "nets", Match: Match{Networks: []string{"10.0.0.0/16", "10.0.0", "300.1.1.1/8"}}},
			{Name: "roles", Match: Match{Roles: []string{"dc"}}},
			{Name: "jq", Match: Match{JQ: ".os |"}},
			{Name: "empty", Match: Match{Names: []string{" "}}, Actions: []string{""}},
		},
		Hosts:      []Group{{Name: "g", Match: Match{Tags: []string{"x"}}, Mode: "enforce"}, {Match: Match{Tags: []string{"x"}}, Mode: "observe"}},
		Everywhere: []string{""},
	}
	err := s.Check()
	if err == nil {
		t.Fatal("no mistake was found")
	}
	for _, want := range []string{
		"protected: 0: a rule needs a name",
		"protected: 1: match: it says of no host that it is meant",
		`protected: 2: match: networks: 1: "10.0.0" is no network`,
		`protected: 2: match: networks: 2: "300.1.1.1/8" is no network`,
		`protected: 3: match: roles: 0: "dc" is no role`,
		"protected: 4: match: jq: ",
		"protected: 5: match: names: 0: an empty pattern fits nothing",
		"protected: 5: actions: 0: the name of an action is empty",
		`hosts: 0: mode: "enforce" is no mode of a group`,
		"hosts: 1: a group of hosts needs a name",
		"everywhere: 0: the name of an action is empty",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "protected: 4:"); n != 1 {
		t.Errorf("one mistake is told %d times:\n%v", n, err)
	}
	if _, err := New(s); err == nil {
		t.Error("a guard was made of settings with mistakes")
	}
}
