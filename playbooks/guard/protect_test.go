package guard

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

var now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func newGuard(t testing.TB, s Settings) *Guard {
	t.Helper()
	g, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	g.SetOwn(Own{
		Server: Machine{Names: []string{"er.corp.example"}, Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("2001:db8::1")}},
		Here:   Machine{Names: []string{"bridge"}, Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.2")}},
	})
	return g
}

// contain is a call that isolates hosts, of a playbook that enforces.
func contain(hosts ...Host) *Request {
	return &Request{
		Run: 1, Step: "hit", Playbook: "p", Action: "host.contain", Hosts: hosts, At: now, Since: now, Call: "c",
		Modes: []Voice{{soar.ModeEnforce, "the playbook enforces"}},
	}
}

func plain(id string) Host {
	return Host{ID: id, Name: "pc-" + id, Platform: "windows", OS: "Windows 11", Addresses: []string{"10.3.0.7"}, Known: true, Facts: map[string]any{"name": "pc-" + id}}
}

// answer is what one rail says.
func answer(t testing.TB, g *Guard, r *Request, check string) Answer {
	t.Helper()
	for _, a := range g.AskAll(r).Answers {
		if a.Check == check {
			return a
		}
	}
	t.Fatalf("rail %q was not asked", check)
	return Answer{}
}

func TestProtectedHosts(t *testing.T) {
	settings := Settings{
		Protected: []Protection{
			{Name: "crown jewels", Match: Match{Tags: []string{"crown-jewel"}}},
			{Name: "mail", Match: Match{Names: []string{"mail*"}}, Actions: []string{"host.contain", "process.*"}},
			{Name: "not even tags", Match: Match{Names: []string{"holy"}}, Actions: []string{"*"}},
		},
		Everywhere: []string{"ioc.*"},
	}
	mail := plain("1").with(func(h *Host) { h.Name = "MAIL01" })
	act := func(r *Request, action string) *Request { r.Action = action; return r }
	harmless := func(r *Request) *Request { r.Action, r.Harmless = "host.tag", true; return r }
	everywhere := func(action string) *Request { r := contain(); r.Action, r.Everywhere = action, true; return r }
	for _, tt := range []struct {
		name  string
		r     *Request
		want  soar.StepState // empty: it passes
		words []string
	}{
		{"an ordinary host", contain(plain("1")), "", []string{"pc-1 (1): not protected"}},
		{"by tag", contain(server()), soar.StepRefused, []string{"DC01.corp.example (8A2F-01)", `the rule "crown jewels"`, "host.contain", "a person does it"}},
		{"by name", contain(mail), soar.StepRefused, []string{"MAIL01 (1)", `"mail"`}},
		{"by name, another action", act(contain(mail), "agent.restart"), "", nil},
		{"by name, a pattern of actions", act(contain(mail), "process.kill"), soar.StepRefused, nil},
		{"one of several", contain(plain("1"), plain("2"), server()), soar.StepRefused, []string{"DC01.corp.example (8A2F-01)"}},
		{"several", contain(plain("1"), plain("2")), "", []string{"pc-1 (1), pc-2 (2): not protected"}},
		{"many", contain(plain("1"), plain("2"), plain("3"), plain("4"), plain("5")), "", []string{"and 2 more are not protected"}},
		{"an unknown host", contain(Host{ID: "ghost", Why: "the server has no such host"}), soar.StepRefused, []string{"nothing is known of host ghost", "the server has no such host", "run the playbook again"}},
		{"a harmless call", harmless(contain(server())), "", []string{"host.tag does nothing to a host"}},
		{"a harmless call to an unknown host", harmless(contain(Host{ID: "ghost", Why: "no such host"})), soar.StepRefused, []string{"not even tags", "its name is not known"}},
		{"a harmless call that a rule names", harmless(contain(plain("1").with(func(h *Host) { h.Name = "holy" }))), soar.StepRefused, []string{"not even tags"}},
		{"no host at all", act(contain(), "alert.note"), "", []string{"alert.note acts on no host"}},
		{"the server, by its name", contain(plain("1").with(func(h *Host) { h.Name = "ER.Corp.Example" })), soar.StepRefused, []string{"is the Endpoint Response server itself", `its name is "ER.Corp.Example"`}},
		{"the server, by its short name", contain(plain("1").with(func(h *Host) { h.Name = "er" })), soar.StepRefused, nil},
		{"a namesake of the server elsewhere", contain(plain("1").with(func(h *Host) { h.Name = "er.other.example" })), "", nil},
		{"the server, by an address", contain(plain("1").with(func(h *Host) { h.Addresses = []string{"10.9.0.1"} })), soar.StepRefused, []string{"its address is 10.9.0.1"}},
		{"the server, by another address", contain(plain("1").with(func(h *Host) { h.Addresses = []string{"2001:DB8::1"} })), soar.StepRefused, nil},
		{"the server, by a loopback address", contain(plain("1").with(func(h *Host) { h.Addresses = []string{"127.0.0.1"} })), soar.StepRefused, []string{"loopback"}},
		{"our own host, by its name", contain(plain("1").with(func(h *Host) { h.Name = "bridge.corp.example" })), soar.StepRefused, []string{"erbridge itself runs on"}},
		{"our own host, by its address", contain(plain("1").with(func(h *Host) { h.Addresses = []string{"::ffff:10.9.0.2"} })), soar.StepRefused, nil},
		{"a host without name and address", contain(Host{ID: "x", Known: true, Facts: map[string]any{"id": 1.0}}), soar.StepRefused, []string{"neither a name nor an address"}},
		{"everywhere", everywhere("rule.disable"), soar.StepRefused, []string{"rule.disable acts on all hosts at once", "guard.everywhere"}},
		{"everywhere, allowed", everywhere("ioc.add"), "", []string{"guard.everywhere allows"}},
		{"everywhere, with a host besides", func() *Request { r := everywhere("ioc.add"); r.Hosts = []Host{server()}; return r }(), soar.StepRefused, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := answer(t, newGuard(t, settings), tt.r, "protected hosts")
			if a.OK != (tt.want == "") || a.State != tt.want || a.Words == "" {
				t.Errorf("answered %+v", a)
			}
			for _, words := range tt.words {
				if !strings.Contains(a.Words, words) {
					t.Errorf("%q does not say %q", a.Words, words)
				}
			}
		})
	}
}

// Without a rule that says otherwise, a host of which nothing is known can be tagged.
func TestHarmlessCallsToUnknownHosts(t *testing.T) {
	r := contain(Host{ID: "ghost", Why: "no such host"})
	r.Action, r.Harmless, r.With = "host.tag", true, map[string]any{"tag": "seen"}
	if a := answer(t, newGuard(t, Settings{}), r, "protected hosts"); !a.OK {
		t.Errorf("answered %+v", a)
	}
}

// What cannot be told for now is waited for.
func TestProtectedHostsWait(t *testing.T) {
	g := newGuard(t, Settings{})
	a := answer(t, g, contain(Host{ID: "h", Unread: true, Why: "the server is out of reach"}), "protected hosts")
	if a.OK || a.State != "" || !a.Until.Equal(now.Add(unreadAgain)) || !strings.Contains(a.Words, "out of reach") {
		t.Errorf("a host that cannot be read now: %+v", a)
	}
	g.SetOwn(Own{Server: Machine{Names: []string{"er.corp.example"}, Unresolved: "er.corp.example: no such host"}})
	a = answer(t, g, contain(plain("1")), "protected hosts")
	if a.OK || a.Until.IsZero() || !strings.Contains(a.Words, "no such host") {
		t.Errorf("while the server's address is not known: %+v", a)
	}
	if a = answer(t, g, contain(plain("1"), server().with(func(h *Host) { h.Name = "er" })), "protected hosts"); a.State != soar.StepRefused {
		t.Errorf("one that is surely protected does not wait for the others: %+v", a)
	}
	_, changed := g.Changed()
	g.SetOwn(Own{Server: Machine{Names: []string{"er.corp.example"}, Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.1")}}})
	select {
	case <-changed:
	default:
		t.Error("those who wait are not told that the address is known")
	}
	if a = answer(t, g, contain(plain("1")), "protected hosts"); !a.OK {
		t.Errorf("once it is known: %+v", a)
	}
}

// New settings hold at once, and the machines that are built in stay.
func TestConfigureKeepsOwn(t *testing.T) {
	g := newGuard(t, Settings{})
	if err := g.Configure(Settings{Protected: []Protection{{Name: "all", Match: Match{Names: []string{"pc-*"}}}}}); err != nil {
		t.Fatal(err)
	}
	if a := answer(t, g, contain(plain("1")), "protected hosts"); a.OK {
		t.Errorf("the new rule does not hold: %+v", a)
	}
	if err := g.Configure(Settings{}); err != nil {
		t.Fatal(err)
	}
	if a := answer(t, g, contain(plain("1")), "protected hosts"); !a.OK {
		t.Errorf("the old rule holds on: %+v", a)
	}
	if a := answer(t, g, contain(plain("1").with(func(h *Host) { h.Name = "er" })), "protected hosts"); a.OK {
		t.Errorf("the server is forgotten: %+v", a)
	}
	if err := g.Configure(Settings{Everywhere: []string{""}}); err == nil {
		t.Error("settings with mistakes were taken")
	}
}

// A playbook that may tag hosts cannot lift their protection by it.
func TestTagsDoNotLiftRules(t *testing.T) {
	settings := Settings{
		Protected: []Protection{
			{Name: "crown jewels", Match: Match{Tags: []string{"crown-*"}}},
			{Name: "unless cleared", Match: Match{JQ: `(.tags // []) | index("cleared") | not`, Names: []string{"pc-9"}}},
		},
		Hosts: []Group{{Name: "servers", Match: Match{Roles: []string{"server"}, Networks: []string{"10.3.0.0/16"}}, Mode: soar.ModeObserve}},
	}
	tagged := func(id string, tags ...string) Host {
		return plain(id).with(func(h *Host) { h.Tags = tags })
	}
	tag := func(action string, with map[string]any, h Host) *Request {
		r := contain(h)
		r.Action, r.Harmless, r.With = action, true, with
		return r
	}
	for _, tt := range []struct {
		name string
		r    *Request
		rule string
	}{
		{"adds a tag", tag("host.tag", map[string]any{"tag": "seen"}, tagged("1", "crown-jewel")), ""},
		{"adds one that protects", tag("host.tag", map[string]any{"tag": "crown-jewel"}, tagged("1")), ""},
		{"takes another away", tag("host.tag", map[string]any{"tag": "seen", "remove": true}, tagged("1", "crown-jewel", "seen")), ""},
		{"takes the one away", tag("host.tag", map[string]any{"tag": "crown-jewel", "remove": true}, tagged("1", "crown-jewel")), "crown jewels"},
		{"takes the one away by a name of its own", tag("host.untag", map[string]any{"tag": "crown-jewel"}, tagged("1", "crown-jewel")), "crown jewels"},
		{"takes one of two away", tag("host.untag", map[string]any{"tag": "crown-a"}, tagged("1", "crown-a", "crown-b")), ""},
		{"takes both away", tag("host.untag", map[string]any{"tags": []any{"crown-a", "crown-b"}}, tagged("1", "crown-a", "crown-b")), "crown jewels"},
		{"takes it away before the facts tell it", tag("host.untag", map[string]any{"tag": "crown-jewel"}, tagged("1")), "crown jewels"},
		{"takes it away from an unknown host", tag("host.untag", map[string]any{"tag": "crown-jewel"}, Host{ID: "ghost", Why: "x"}), "crown jewels"},
		{"adds one that clears", tag("host.tag", map[string]any{"tag": "cleared"}, tagged("9")), "unless cleared"},
		{"takes a role away", tag("host.untag", map[string]any{"tag": "server"}, tagged("1", "server")), "servers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := answer(t, newGuard(t, settings), tt.r, "protected hosts")
			if a.OK != (tt.rule == "") || !strings.Contains(a.Words, tt.rule) {
				t.Errorf("answered %+v", a)
			}
		})
	}
}

func TestGroupsOfHosts(t *testing.T) {
	settings := Settings{Hosts: []Group{
		{Name: "berlin", Match: Match{Tags: []string{"site.berlin"}}, Mode: soar.ModeApprove},
		{Name: "servers", Match: Match{Roles: []string{"server"}}, Mode: soar.ModeObserve},
	}}
	berlin := plain("1").with(func(h *Host) { h.Tags = []string{"site.berlin"} })
	observing := contain(berlin)
	observing.Modes = []Voice{{soar.ModeObserve, "the playbook only observes"}}
	everywhere := contain()
	everywhere.Everywhere = true
	for _, tt := range []struct {
		name  string
		r     *Request
		want  soar.Mode
		words string
	}{
		{"no group", contain(plain("1")), soar.ModeEnforce, "the playbook enforces"},
		{"one group", contain(berlin), soar.ModeApprove, `pc-1 (1) belongs to the hosts "berlin": its tag "site.berlin"`},
		{"two groups", contain(server()), soar.ModeObserve, `DC01.corp.example (8A2F-01) belongs to the hosts "servers"`},
		{"one of several hosts", contain(plain("1"), berlin), soar.ModeApprove, "berlin"},
		{"the playbook is stricter", observing, soar.ModeObserve, "the playbook only observes"},
		{"all hosts", everywhere, soar.ModeObserve, "servers"},
		{"an unknown host", contain(Host{ID: "ghost"}), soar.ModeObserve, "nothing is known of it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuard(t, settings)
			before := len(tt.r.Modes)
			a := answer(t, g, tt.r, "mode")
			if !strings.HasPrefix(a.Words, string(tt.want)+": ") || !strings.Contains(a.Words, tt.words) || (a.State == soar.StepObserved) != (tt.want == soar.ModeObserve) {
				t.Errorf("answered %+v", a)
			}
			if len(tt.r.Modes) != before {
				t.Errorf("the request was changed: %v", tt.r.Modes)
			}
		})
	}
}

// Whatever a request says and whatever rules there are: one that names a protected
// host, and does something to it, is not taken.
func TestNoRequestPassesWithAProtectedHost(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	match := func() Match {
		for {
			m := Match{}
			if random.IntN(3) == 0 {
				m.Tags = []string{pick("a", "b", "*c*")}
			}
			if random.IntN(3) == 0 {
				m.Names = []string{pick("pc-?", "srv*", "*")}
			}
			if random.IntN(4) == 0 {
				m.Networks = []string{pick("10.3.0.0/24", "::/0", "10.0.0.0/8")}
			}
			if random.IntN(6) == 0 {
				m.JQ = pick(`.name | test("^pc")`, `.tags | length > 1`, `error`)
			}
			if m.Tags != nil || m.Names != nil || m.Networks != nil || m.JQ != "" {
				return m
			}
		}
	}
	host := func() Host {
		h := Host{ID: fmt.Sprint(random.IntN(9)), Name: pick("pc-1", "PC-2", "srv-1", "er", "bridge.corp.example", ""), Known: random.IntN(5) > 0}
		if random.IntN(4) > 0 {
			h.Addresses = []string{pick("10.3.0.1", "10.9.0.1", "2001:db8::1", "127.0.0.1", "fe80::1%2", "nonsense")}
		}
		for range random.IntN(3) {
			h.Tags = append(h.Tags, pick("a", "B", "xcx", "d"))
		}
		h.Facts = h.tagged(h.Tags).Facts
		h.Facts["name"] = h.Name
		return h
	}
	passed := 0
	for range 20_000 {
		settings := Settings{}
		for range random.IntN(3) {
			settings.Protected = append(settings.Protected, Protection{Name: "r", Match: match()})
		}
		g := newGuard(t, settings)
		r := contain()
		for range 1 + random.IntN(3) {
			r.Hosts = append(r.Hosts, host())
		}
		protected := ""
		for i := range r.Hosts {
			h := &r.Hosts[i]
			own, _ := g.rules.Load().own.Server.is(h)
			here, _ := g.rules.Load().own.Here.is(h)
			if !h.Known || own || here {
				protected = h.Label()
			}
			for n := range settings.Protected {
				if is, _ := compiled(t, settings.Protected[n].Match).of(h); is != no {
					protected = h.Label()
				}
			}
		}
		d := g.Take(r)
		d.Settle(true)
		if d.OK && protected != "" {
			t.Fatalf("a call to %s passed: %+v under %+v", protected, r.Hosts, settings)
		}
		if !d.OK && d.Words == "" {
			t.Fatalf("refused without a reason: %+v", d)
		}
		if d.OK {
			passed++
		}
	}
	if passed < 500 {
		t.Errorf("only %d of 20000 calls passed: the test does not tell rules from a wall", passed)
	}
}

func BenchmarkProtectedHosts(b *testing.B) {
	s := Settings{}
	for i := range 20 {
		s.Protected = append(s.Protected, Protection{Name: fmt.Sprint(i), Match: Match{Tags: []string{fmt.Sprintf("tag-%d", i)}, Networks: []string{"10.77.0.0/16"}}})
	}
	g := newGuard(b, s)
	r := contain(plain("1"))
	for b.Loop() {
		if d := g.Ask(r); !d.OK {
			b.Fatal(d.Words)
		}
	}
}
