package actions

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

const rules = "rule dropper { strings: $a = \"it's \\\"evil\\\"; --\" condition: $a }\n"

// serverChange is a call that changes what the server keeps for all hosts or for one.
type serverChange struct {
	action      string
	write, read string // calls of the server
	path        string // of write, as it ends
	with        object
	before      func(b *bench) // makes what the call changes; may be nil
	summary     string
	reversed    bool // something takes it back
}

// serverChanges are calls of every kind, all of which change something on a new server.
func serverChanges(b *bench) []serverChange {
	h := b.windows()
	added := func(action string, with object) func(*bench) {
		return func(b *bench) { b.run(action, call("before", soar.Alert{}, with)) }
	}
	md5s := []any{"0123456789abcdef0123456789abcdef", "ffffffffffffffffffffffffffffffff"}
	return []serverChange{
		{"ioc.add", "iocs-replace", "iocs-list", "/iocs/add", object{"list": "it's; drop", "type": "md5", "values": md5s, "severity": "HIGH"}, nil, "added 2 indicators", true},
		{"ioc.remove", "iocs-replace", "iocs-list", "/iocs/add", object{"list": "soc", "values": md5s[:1]},
			added("ioc.add", object{"list": "soc", "type": "md5", "values": md5s}), "removed 1 indicator from list soc", true},
		{"rule.disable", "rules-disable", "rules-names", "/rules/disable", object{"rule": b.ruleID()}, nil, "disabled rule", true},
		{"rule.enable", "rules-enable", "rules-names", "/rules/enable", object{"rule": b.ruleID()}, added("rule.disable", object{"rule": b.ruleID()}), "enabled rule", true},
		{"yara.add", "yara-add", "yara-list", "/yara/add", object{"file": "Dropper.YAR", "content": rules, "platforms": []any{"windows"}}, nil, "added the YARA file dropper.yar", true},
		{"yara.remove", "yara-delete", "yara-list", "/yara/delete", object{"file": "DROPPER.yar"},
			added("yara.add", object{"file": "dropper.yar", "content": rules, "platforms": []any{"linux", "windows"}}), "removed the YARA file dropper.yar", true},
		{"config.assign", "configs-assign", "hosts-full-config", "/assign", object{"host": h.Identifier, "config": b.configID("windows")}, nil, "gave " + h.Identifier + " the config other-windows in place of", true},
		{"query.add", "queries-add", "queries-list", "/queries/add", object{
			"name": "it's new", "sql": "select name from processes where path = 'C:\\it''s; -- b'", "interval": "10m", "platform": "windows", "tags": []any{"soc"},
		}, nil, "added the scheduled query it's new", false},
		{"pack.add", "packs-add", "packs-list", "/packs/add", object{
			"name": "it's a pack", "category": "General", "platform": "windows", "tags": []any{"soc"}, "description": "a \"quote\"",
			"queries": []any{object{"name": "p1", "sql": "select pid from processes", "interval": "5m"}, object{"name": "p2", "sql": "select 1", "interval": "1h", "snapshot": true}},
		}, nil, "added the pack it's a pack with 2 queries", false},
	}
}

// ruleID is a rule of the server that is heeded.
func (b *bench) ruleID() float64 {
	b.Helper()
	names, err := b.deps.Client.Rules.Names(b.Context())
	if err != nil || len(names) == 0 {
		b.Fatalf("rules %v: %v", names, err)
	}
	return float64(names[0].ID)
}

// configID is a config of a platform that is not its default; it is made if there is none.
func (b *bench) configID(platform string) float64 {
	b.Helper()
	for c, err := range b.deps.Client.Configs.List(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		if c.Name == "other-"+platform {
			return float64(c.ID)
		}
	}
	id, err := b.deps.Client.Configs.Add(b.Context(), connector.NewConfig{Name: "other-" + platform, Platform: platform})
	if err != nil {
		b.Fatal(err)
	}
	return float64(id)
}

// set is the server's set of indicators.
func (b *bench) set() map[string]connector.IOC {
	b.Helper()
	set, err := b.deps.Client.IOCs.Get(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return set
}

// each runs a test for every record on a server of its own.
func each(t *testing.T, test func(t *testing.T, b *bench, r serverChange), only ...string) {
	for i, r := range serverChanges(newBench(t, ersim.Options{})) {
		if len(only) > 0 && !slices.Contains(only, r.action) {
			continue
		}
		t.Run(r.action, func(t *testing.T) {
			b := newBench(t, ersim.Options{})
			r = serverChanges(b)[i]
			if r.before != nil {
				r.before(b)
			}
			test(t, b, r)
		})
	}
}

// A change is read back, is no change when it is there already, and is taken back as a
// whole, so that it can be made again.
func TestRecordsAreChangedAndTakenBack(t *testing.T) {
	each(t, func(t *testing.T, b *bench, r serverChange) {
		var first string
		for round := range 2 {
			c := call(fmt.Sprint("c", round), soar.Alert{}, r.with)
			if err := b.ready(r.action, c); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			out := b.run(r.action, c)
			want(t, out, soar.StepVerified, r.summary)
			if text := fmt.Sprint(out.Output); round == 0 {
				first = text
			} else if text != first {
				t.Errorf("the second time it left %s, and the first %s", text, first)
			}
			if err := b.ready(r.action, c); !errors.Is(err, playbooks.ErrNothingToDo) {
				t.Errorf("it is so already: %v", err)
			}
			again := b.run(r.action, c)
			if again.State != soar.StepVerified || b.reversal(r.action, c, again) != nil {
				t.Errorf("what changed nothing: %+v", again)
			}
			taken, ok := b.takeBack(r.action, c, out)
			if ok != r.reversed || ok && taken.State != soar.StepVerified {
				t.Errorf("taken back %t: %+v", ok, taken)
			}
			if !ok {
				return
			}
		}
	})
}

// A config that somebody has assigned since is not taken back with ours.
func TestUndoLeavesConfigsOfPeopleAlone(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h, mine := b.windows(), b.configID("windows")
	theirs, err := b.deps.Client.Configs.Add(t.Context(), connector.NewConfig{Name: "theirs", Platform: "windows"})
	if err != nil {
		t.Fatal(err)
	}
	assign := call("c", soar.Alert{}, object{"host": h.Identifier, "config": mine})
	back := b.reversal("config.assign", assign, b.run("config.assign", assign))
	if _, err := b.deps.Client.Configs.Assign(t.Context(), theirs, []string{h.Identifier}, nil); err != nil {
		t.Fatal(err)
	}
	c := call("undo", soar.Alert{}, back.With)
	words := fmt.Sprintf("has the config %d (theirs) now, not %.0f: somebody has assigned it since, and it is left alone", theirs, mine)
	if err := b.ready(back.Do, c); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("ready: %v", err)
	}
	if _, err := b.actions[back.Do].Do(t.Context(), c); err == nil || errors.Is(err, playbooks.ErrUncertain) || !strings.Contains(err.Error(), words) {
		t.Errorf("do: %v", err)
	}
	if now, err := b.deps.Client.Hosts.FullConfig(t.Context(), h.Identifier); err != nil || now.ConfigID != theirs {
		t.Errorf("the host has %+v: %v", now, err)
	}
}

// An indicator is the same in whatever case it is written, and more than could be put back
// is not removed.
func TestIndicatorsThatGo(t *testing.T) {
	set := map[string]connector.IOC{"l": {Type: "domain_name", Values: []string{"Bad.example", " worse.example", "good.example"}}}
	for _, tt := range []struct {
		values []string
		want   []string
	}{
		{nil, set["l"].Values},
		{[]string{"bad.EXAMPLE", "worse.example "}, []string{"Bad.example", " worse.example"}},
		{[]string{"other.example"}, nil},
	} {
		if got := (IOCRemove{List: "l", Values: tt.values}).found(set); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q", tt.values, got)
		}
	}
	// One that is there in another case is not added, so that undoing does not take it.
	if got := lackingIndicators([]string{"bad.example", "New.example", "new.example ", "good.example"}, set["l"].Values); !slices.Equal(got, []string{"New.example"}) {
		t.Errorf("added %q", got)
	}
	b := newBench(t, ersim.Options{})
	many := make([]string, maxIndicators+1)
	for i := range many {
		many[i] = fmt.Sprintf("a%d.example", i)
	}
	if err := b.deps.Client.IOCs.Replace(t.Context(), map[string]connector.IOC{"big": {Type: "domain_name", Severity: "LOW", Values: many}}, connector.ReplaceEverything); err != nil {
		t.Fatal(err)
	}
	c := call("c", soar.Alert{}, object{"list": "big"})
	const words = "list big has 5001 indicators, and at most 5000 are removed at once"
	if err := b.ready("ioc.remove", c); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("ready: %v", err)
	}
	if _, err := b.actions["ioc.remove"].Do(t.Context(), c); err == nil || errors.Is(err, playbooks.ErrTransient) || errors.Is(err, playbooks.ErrUncertain) || !strings.Contains(err.Error(), words) {
		t.Errorf("do: %v", err)
	}
	if n := len(b.set()["big"].Values); n != len(many) {
		t.Errorf("%d are left", n)
	}
}

// What came of a call is told by the server's records, whatever came of its answer.
func TestRecordsAreReadBack(t *testing.T) {
	each(t, func(t *testing.T, b *bench, r serverChange) {
		c := call("c", soar.Alert{}, r.with)
		b.sim.Inject(ersim.Fault{Kind: ersim.RateLimit, Call: r.write})
		if _, err := b.actions[r.action].Do(t.Context(), c); !errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("busy: %v", err)
		}
		b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: r.read})
		if _, err := b.actions[r.action].Do(t.Context(), c); !errors.Is(err, playbooks.ErrTransient) || b.sim.Calls()[r.write] > 2 {
			t.Errorf("unreadable before: %v", err)
		}
		b.sim.ClearFaults()
		b.sim.Inject(ersim.Fault{Kind: ersim.DropBefore, Call: r.write})
		if out, err := b.actions[r.action].Do(t.Context(), c); err == nil || errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("lost before it was done: %+v, %v", out, err)
		}
		b.sim.Inject(ersim.Fault{Kind: ersim.DropAfter, Call: r.write})
		out := b.run(r.action, c)
		want(t, out, soar.StepVerified, r.summary)
		if r.reversed && b.reversal(r.action, c, out) == nil {
			t.Error("an answer was lost, and with it how to take it back")
		}
	})
}

// A server that says success and does nothing is not believed.
func TestRecordsThatDoNotChange(t *testing.T) {
	each(t, func(t *testing.T, b *bench, r serverChange) {
		c := call("c", soar.Alert{}, r.with)
		deaf := b.answering(r.path, `{"status": "success", "message": "", "data": {}, "query_id": 999, "pack_id": 1}`)
		out, err := deaf[r.action].Do(t.Context(), c)
		if err == nil && (out.State != soar.StepFailed || !strings.HasPrefix(out.Error, "the server reports success, and ")) {
			t.Errorf("outcome %+v", out)
		}
		if errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("it would be tried again: %v", err)
		}
	})
}

// What cannot be read afterwards is looked at again, and what was changed is known then.
// The other changes are read back in several calls, or by the client.
func TestRecordsAreLookedAtAgain(t *testing.T) {
	reads := map[string]int{"rule.disable": 3, "rule.enable": 3, "config.assign": 2} // the last is the look behind the call
	each(t, func(t *testing.T, b *bench, r serverChange) {
		c := call("c", soar.Alert{}, r.with)
		b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: r.read, After: reads[r.action] - 1})
		out, err := b.actions[r.action].Do(t.Context(), c)
		if err != nil || out.State != soar.StepAccepted || out.Unverified == "" {
			t.Fatalf("%+v: %v", out, err)
		}
		again, err := b.actions[r.action].Poll(t.Context(), c, out.Ref)
		if err != nil || again.State != soar.StepVerified || b.reversal(r.action, c, again) == nil {
			t.Errorf("%+v: %v", again, err)
		}
	}, slices.Collect(maps.Keys(reads))...)
}

// Every refusal has its reason, and comes before anything is written down.
func TestRecordsAreRefusedWithTheirReason(t *testing.T) {
	b := newBench(t, ersim.Options{})
	md5 := []any{"0123456789abcdef0123456789abcdef"}
	b.run("ioc.add", call("a", soar.Alert{}, object{"list": "soc", "type": "md5", "values": md5, "severity": "LOW"}))
	b.run("yara.add", call("y", soar.Alert{}, object{"file": "a.yar", "content": rules}))
	b.run("query.add", call("q", soar.Alert{}, object{"name": "q", "sql": "select 1", "interval": "1h"}))
	one := []any{object{"name": "p1", "sql": "select 1", "interval": "5m"}}
	two := []any{object{"name": "p1", "sql": "select 1", "interval": "5m"}, object{"name": "p2", "sql": "select 2", "interval": "5m"}}
	b.run("pack.add", call("p", soar.Alert{}, object{"name": "p", "queries": one}))
	for _, tt := range []struct {
		action, words string
		with          object
	}{
		{"ioc.add", "holds indicators of type md5", object{"list": "soc", "type": "sha1", "values": []any{strings.Repeat("a", 40)}}},
		{"ioc.add", "has the severity LOW", object{"list": "soc", "type": "md5", "values": []any{strings.Repeat("a", 32)}, "severity": "HIGH"}},
		{"ioc.add", "is no md5", object{"list": "soc", "type": "md5", "values": []any{"x,y"}}},
		{"ioc.add", "is no address", object{"list": "soc", "type": "remote_address", "values": []any{"10.0.0.0/8"}}},
		{"ioc.add", "is no name of a domain", object{"list": "soc", "type": "domain_name", "values": []any{"evil.example\nother.example"}}},
		{"ioc.add", "is empty", object{"list": "soc", "type": "md5", "values": []any{}}},
		{"ioc.remove", "is empty", object{"list": "soc", "values": []any{}}},
		{"rule.disable", "the server has no rule 9999", object{"rule": 9999.0}},
		{"rule.enable", "the server has no rule 9999", object{"rule": 9999.0}},
		{"yara.add", "with other rules, which is not replaced", object{"file": "A.yar", "content": rules + "rule b { condition: true }"}},
		{"yara.add", "is no name of a file", object{"file": "../a.yar", "content": rules}},
		{"yara.remove", "is empty", object{"file": "a.yar", "platforms": []any{}}},
		{"yara.add", `unknown value "solaris"`, object{"file": "b.yar", "content": rules, "platforms": []any{"solaris"}}},
		{"config.assign", "the server has no config 9999", object{"host": b.windows().Identifier, "config": 9999.0}},
		{"config.assign", "is for linux", object{"host": b.windows().Identifier, "config": b.configID("linux")}},
		{"config.assign", "the server has no host NOBODY", object{"host": "NOBODY", "config": 1.0}},
		{"query.add", "of which nothing is changed", object{"name": "q", "sql": "select 2", "interval": "1h"}},
		{"query.add", "table curl", object{"name": "r", "sql": "select * from curl where url = 'http://x'", "interval": "1h"}},
		{"query.add", "whole seconds", object{"name": "r", "sql": "select 1", "interval": "10ms"}},
		{"pack.add", "or say replace: true", object{"name": "p", "queries": two}},
		{"pack.add", "has another SQL, which it would keep", object{"name": "p", "replace": true, "queries": []any{object{"name": "p1", "sql": "select 3", "interval": "5m"}}}},
		{"pack.add", "stands twice", object{"name": "n", "queries": slices.Concat(one, one)}},
		{"pack.add", "DELETE", object{"name": "n", "queries": []any{object{"name": "p1", "sql": "select 1; delete from x", "interval": "5m"}}}},
	} {
		err := b.ready(tt.action, call("c", soar.Alert{}, tt.with))
		if tt.words == "DELETE" && err != nil {
			tt.words = "statement" // of two
		}
		if err == nil || !strings.Contains(err.Error(), tt.words) || errors.Is(err, playbooks.ErrNothingToDo) || errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("%s %v: %v", tt.action, tt.with, err)
		}
	}
}

func TestRecordsNeedTheAdmin(t *testing.T) {
	each(t, func(t *testing.T, b *bench, r serverChange) {
		b.as("analyst")
		err := b.ready(r.action, call("c", soar.Alert{}, r.with))
		if free := strings.HasPrefix(r.action, "rule.") || r.action == "yara.add"; free != (err == nil) {
			t.Errorf("an analyst: %v", err)
		} else if !free && !strings.Contains(err.Error(), "needs the role admin on the server, and the account analyst has the role analyst") {
			t.Errorf("an analyst: %v", err)
		}
	})
}

// Release 2.1.2 has no roles, no platforms of YARA files, and no call that enables rules
// or assigns configs.
func TestRecordsOnRelease2(t *testing.T) {
	b := newBench(t, ersim.Options{Profile: "2.1.2"})
	md5 := []any{"0123456789abcdef0123456789abcdef"}
	for _, tt := range []struct {
		action string
		with   object
	}{
		{"ioc.add", object{"list": "soc", "type": "md5", "values": md5}},
		{"yara.add", object{"file": "a.yar", "content": rules}},
		{"query.add", object{"name": "q", "sql": "select 1", "interval": "1h"}},
		{"pack.add", object{"name": "p", "queries": []any{object{"name": "p1", "sql": "select 1", "interval": "5m"}}}},
	} {
		c := call("c", soar.Alert{}, tt.with)
		if err := b.ready(tt.action, c); err != nil {
			t.Errorf("%s: %v", tt.action, err)
			continue
		}
		out := b.run(tt.action, c)
		want(t, out, soar.StepVerified, "added")
		if tt.action == "yara.add" {
			if taken, ok := b.takeBack(tt.action, c, out); !ok || taken.State != soar.StepVerified {
				t.Errorf("taken back %t: %+v", ok, taken)
			}
		}
	}
	// Its last list cannot be taken away: it takes an empty set, and keeps the old one.
	if _, err := b.actions["ioc.remove"].Do(t.Context(), call("c", soar.Alert{}, object{"list": "soc"})); !errors.Is(err, connector.ErrUnavailable) {
		t.Errorf("the last list: %v", err)
	}
	for action, with := range map[string]object{
		"rule.enable": {"rule": 1.0}, "rule.disable": {"rule": 1.0}, "config.assign": {"host": b.windows().Identifier, "config": 1.0},
	} {
		if err := b.ready(action, call("c", soar.Alert{}, with)); !errors.Is(err, connector.ErrUnavailable) || errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("%s: %v", action, err)
		}
	}
}

// Many runs add and remove at the same time: none of them loses what another added, and
// what others put there stays.
func TestIndicatorsOfRunsAtTheSameTime(t *testing.T) {
	b := newBench(t, ersim.Options{})
	theirs := connector.IOC{Type: "domain_name", Severity: "HIGH", Values: []string{"theirs.example.com"}}
	if err := b.deps.Client.IOCs.Merge(t.Context(), map[string]connector.IOC{"theirs": theirs}); err != nil {
		t.Fatal(err)
	}
	value := func(i int) string { return fmt.Sprintf("%032x", i) }
	var runs sync.WaitGroup
	outs := make([]playbooks.Outcome, 20)
	for i := range outs {
		runs.Go(func() { // each adds its own, and one that all add
			outs[i] = b.run("ioc.add", call("c", soar.Alert{}, object{"list": "soc", "type": "md5", "values": []any{value(i), value(999)}}))
		})
	}
	runs.Wait()
	set := b.set()
	if len(set["soc"].Values) != len(outs)+1 || !slices.Equal(set["theirs"].Values, theirs.Values) {
		t.Errorf("the set is %+v", set)
	}
	owners := 0
	for i, out := range outs {
		changed := out.Output.(IOCOutput).Changed
		if out.State != soar.StepVerified || !slices.Contains(changed, value(i)) {
			t.Errorf("run %d: %+v", i, out)
		}
		if slices.Contains(changed, value(999)) {
			owners++
		}
	}
	if owners != 1 {
		t.Errorf("%d runs added what all add", owners)
	}
	for i := range outs[:10] {
		runs.Go(func() {
			b.takeBack("ioc.add", call(fmt.Sprint(i), soar.Alert{}, object{"list": "soc", "type": "md5", "values": []any{value(i), value(999)}}), outs[i])
		})
	}
	runs.Wait()
	if left := b.set(); !slices.Equal(left["theirs"].Values, theirs.Values) || slices.Contains(left["soc"].Values, value(0)) || !slices.Contains(left["soc"].Values, value(19)) {
		t.Errorf("left is %+v", left)
	}
}

// Somebody else writes the set right after we did, so that what we wrote is gone when it
// is read again: it is written again, beside theirs.
func TestIndicatorsOverwrittenByOthers(t *testing.T) {
	b := newBench(t, ersim.Options{})
	other := b.login("admin")
	theirs := connector.IOC{Type: "md5", Severity: "LOW", Values: []string{strings.Repeat("b", 32)}}
	reads := 0
	b.deps.Client = b.through(func(req *http.Request) {
		if req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/iocs") {
			if reads++; reads == 2 {
				if err := other.IOCs.Replace(t.Context(), map[string]connector.IOC{"theirs": theirs}, connector.ReplaceEverything); err != nil {
					t.Error(err)
				}
			}
		}
	})
	b.actions = All(b.deps)
	out := b.run("ioc.add", call("c", soar.Alert{}, object{"list": "ours", "type": "md5", "values": []any{strings.Repeat("a", 32)}}))
	want(t, out, soar.StepVerified, "added 1 indicator to list ours")
	if names := slices.Sorted(maps.Keys(b.set())); reads < 4 || !slices.Equal(names, []string{"ours", "theirs"}) {
		t.Errorf("%d reads, lists %v", reads, names)
	}
}

// The server deletes before it writes. What others had there is put back when it breaks
// off in between.
func TestIndicatorsOfOthersWhenAWriteBreaksOff(t *testing.T) {
	theirs := map[string]connector.IOC{
		"a": {Type: "md5", Severity: "LOW", Values: []string{strings.Repeat("b", 32), strings.Repeat("c", 32)}},
		"z": {Type: "domain_name", Severity: "HIGH", Values: []string{"bad.example"}},
	}
	left := map[string]connector.IOC{"a": {Type: "md5", Severity: "LOW", Values: theirs["a"].Values[:1]}}
	for _, tt := range []struct {
		action string
		with   object
		values map[string]int
		breaks int
	}{
		{"ioc.add", object{"list": "ours", "type": "md5", "values": []any{strings.Repeat("a", 32)}}, map[string]int{"a": 2, "z": 1, "ours": 1}, 1},
		{"ioc.add", object{"list": "ours", "type": "md5", "values": []any{strings.Repeat("a", 32)}}, map[string]int{"a": 2, "z": 1, "ours": 1}, 4},
		{"ioc.remove", object{"list": "a", "values": []any{strings.Repeat("c", 32)}}, map[string]int{"a": 1, "z": 1}, 1},
	} {
		b := newBench(t, ersim.Options{})
		other := b.login("admin")
		if err := other.IOCs.Replace(t.Context(), theirs, connector.ReplaceEverything); err != nil {
			t.Fatal(err)
		}
		breaks := 0
		b.deps.Client = b.through(func(req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/iocs/add") && breaks < tt.breaks {
				breaks++
				if err := other.IOCs.Replace(t.Context(), left, connector.ReplaceEverything); err != nil {
					t.Error(err)
				}
				b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: "iocs-replace"})
			}
		})
		b.actions = All(b.deps)
		c := call("c", soar.Alert{}, tt.with)
		out, err := b.actions[tt.action].Do(t.Context(), c)
		if broken := tt.breaks > 3; errors.Is(err, playbooks.ErrUncertain) != broken {
			t.Errorf("%s, %d times: %+v: %v", tt.action, tt.breaks, out, err)
		}
		out = b.run(tt.action, c) // as the engine does when it cannot know
		set := b.set()
		got := map[string]int{}
		for name, list := range set {
			got[name] = len(list.Values)
		}
		if out.State != soar.StepVerified || !maps.Equal(got, tt.values) || breaks != tt.breaks {
			t.Errorf("%s, %d of %d times: %+v, and the set is %+v", tt.action, breaks, tt.breaks, out, set)
		}
	}
}

// through is a client that lets seen know of each request before it is sent.
func (b *bench) through(seen func(*http.Request)) *connector.Client {
	b.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b.sim.CAPEM())
	client, err := connector.New(connector.Options{
		URL: b.sim.URL(), Username: "admin", Password: soar.SecretValue("admin"), Retries: -1,
		Transport: &watched{&http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, seen},
	})
	if err != nil {
		b.Fatal(err)
	}
	return client
}

type watched struct {
	*http.Transport
	seen func(*http.Request)
}

func (w *watched) RoundTrip(req *http.Request) (*http.Response, error) {
	w.seen(req)
	return w.Transport.RoundTrip(req)
}

// A pack that is there is changed where the playbook says so, and keeps what is not said
// anew.
func TestPackIsReplacedWhenAsked(t *testing.T) {
	b := newBench(t, ersim.Options{})
	b.run("pack.add", call("p", soar.Alert{}, object{
		"name": "p", "description": "old", "version": "1", "tags": []any{"a"}, "queries": []any{object{"name": "p1", "sql": "select 1", "interval": "5m"}},
	}))
	c := call("c", soar.Alert{}, object{
		"name": "p", "description": "new", "replace": true, "tags": []any{"b"}, "queries": []any{object{"name": "p2", "sql": "select 2", "interval": "5m"}},
	})
	if err := b.ready("pack.add", c); err != nil {
		t.Fatal(err)
	}
	out := b.run("pack.add", c)
	want(t, out, soar.StepVerified, "changed the pack p; it has 1 queries more")
	pack, there, err := b.deps.pack(t.Context(), "p")
	if err != nil || !there || pack.Description != "new" || pack.Version != "1" || len(pack.Queries) != 2 || len(without([]string{"a", "b"}, pack.Tags)) > 0 {
		t.Errorf("pack %+v: %v", pack, err)
	}
}

// Statements and rules are reviewed with the playbook: none is put together from an alert.
func TestRecordsAreNotComputed(t *testing.T) {
	all := All(Deps{})
	for _, step := range []string{
		"{do: query.add, with: {name: q, sql: \"select ${{ .alert.id }}\", interval: 1h}}",
		"{do: yara.add, with: {file: a.yar, content: \"${{ .alert.rule.name }}\"}}",
		"{do: pack.add, with: {name: p, queries: [{name: q, sql: \"select ${{ .alert.id }}\", interval: 1h}]}}",
	} {
		_, problems := playbooks.Parse("p.yaml", []byte("playbook: p\nsteps: ["+step+"]\n"), all)
		if problems == nil || !strings.Contains(problems.Error(), "must not be put together from values of an alert") {
			t.Errorf("%s: %v", step, problems)
		}
	}
}
