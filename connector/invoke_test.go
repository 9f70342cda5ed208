package connector_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/connector/ersim"
)

// given makes arguments of name=value.
func given(pairs ...string) []connector.Argument {
	var all []connector.Argument
	for _, pair := range pairs {
		name, text, _ := strings.Cut(pair, "=")
		all = append(all, connector.Argument{Name: name, Text: text})
	}
	return all
}

// invoke makes a call and returns its answer as JSON has it.
func (r *crossRig) invoke(id, data string, pairs ...string) map[string]any {
	r.Helper()
	inv, err := connector.NewInvocation(catalogue.Find(id), []byte(data), given(pairs...)...)
	r.ok(err)
	answer, err := r.client.Invoke(r.Context(), inv, nil)
	r.ok(err)
	var body map[string]any
	r.ok(json.Unmarshal(answer.Body, &body))
	return body
}

// fillIn gives every required argument of a call a value that fits.
func fillIn(t *testing.T, c *catalogue.Call) []connector.Argument {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []connector.Argument
	for _, p := range c.Params {
		text := map[string]string{"str": "x", "int": "1", "bool": "true", "obj": "{}", "file": "@" + file, "[str]": "a,b", "[int]": "1,2"}[p.Type]
		if len(p.Allowed) > 0 {
			text = p.Allowed[0]
		}
		all = append(all, connector.Argument{Name: p.Name, Text: text})
	}
	return all
}

// Each call of the catalogue can be built from all of its arguments.
func TestInvocationOfEveryCall(t *testing.T) {
	for _, s := range catalogue.Sections() {
		for i := range s.Calls {
			c := &s.Calls[i]
			inv, err := connector.NewInvocation(c, nil, fillIn(t, c)...)
			if err != nil {
				t.Errorf("%s: %v", c.ID, err)
				continue
			}
			if strings.ContainsAny(inv.Target(), "{}") || !strings.HasPrefix(inv.Target(), c.Method+" /") {
				t.Errorf("%s: %s", c.ID, inv.Target())
			}
		}
	}
}

func TestInvocationMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, id, data string
		pairs          []string
		want           []string // each on a line of its own
	}{
		{"unknown argument", "hosts-list", "", []string{"platfrm=windows"}, []string{`unknown argument "platfrm"; did you mean platform?`}},
		{"nothing like it", "hosts-tags-add", "", []string{"node_id=1", "tag=x", "zzzzzz=1"}, []string{`unknown argument "zzzzzz"; there are node_id, tag`}},
		{"no arguments at all", "hosts-count", "", []string{"x=1"}, []string{`unknown argument "x"; the call takes none`}},
		{"outside of the set", "hosts-list", "", []string{"platform=beos"}, []string{`platform: "beos" is none of windows, linux, darwin`}},
		{"one of several outside", "alerts-list", "", []string{"severity=high,worst"}, []string{`severity: "high,worst" is none of critical, high, medium, low, info`}},
		{"all that is missing", "alerts-notes-update", "", nil, []string{"missing: alert_id (int)", "missing: notes (str)", "missing: note_id (int)"}},
		{"no number", "hosts-list", "", []string{"limit=ten"}, []string{`limit: "ten" is not a whole number`}},
		{"no truth", "hosts-list", "", []string{"enabled=perhaps"}, []string{`enabled: "perhaps" is neither true nor false`}},
		{"no object", "iocs-replace", "", []string{"data=[1]"}, []string{"data: not a JSON object"}},
		{"no JSON", "iocs-replace", "", []string{"data={"}, []string{"data: not JSON"}},
		{"no array", "rules-enable", "", []string{"rule_ids=[1"}, []string{"rule_ids: not a JSON array"}},
		{"no numbers in a list", "rules-enable", "", []string{"rule_ids=1,x"}, []string{`rule_ids: "x" is not a whole number`}},
		{"empty list", "rules-enable", "", []string{"rule_ids=,"}, []string{"rule_ids: the list is empty"}},
		{"no path", "yara-add", "", []string{"file=x.yar", "platform=linux"}, []string{"file: write @ and the path of the file"}},
		{"no file", "yara-add", "", []string{"file=@/nosuch/x.yar", "platform=linux"}, []string{"no such file"}},
		{"a file in JSON", "yara-add", `{"file": "x", "platform": "linux"}`, nil, []string{"file: a file can only be given as file=@path"}},
		{"given twice", "hosts-list", "", []string{"limit=1", "limit=2"}, []string{"limit: given 2 times"}},
		{"unknown in data", "hosts-list", `{"limmit": 1}`, nil, []string{`unknown argument "limmit"; did you mean limit?`}},
		{"wrong type in data", "hosts-list", `{"limit": {}}`, nil, []string{"limit: a list or an object where a single value is due"}},
		{"text for a list in data", "rules-enable", `{"rule_ids": "1"}`, nil, []string{"rule_ids: not a list"}},
		{"null is missing", "tags-add", `{"tag": null}`, nil, []string{"missing: tag (str)"}},
		{"data is a list", "hosts-list", `[]`, nil, []string{"not a JSON object"}},
		{"empty part of the path", "hosts-get", "", []string{"node_id="}, []string{"node_id: is empty"}},
		{"path that climbs", "hosts-get", "", []string{"node_id=.."}, []string{`".." cannot stand in a path`}},
		{"NUL", "tags-add", `{"tag": "a\u0000"}`, nil, []string{"tag: holds the character U+0000"}},
		{"not UTF-8", "hosts-list", "", []string{"searchterm=\xff\xfe"}, []string{"searchterm: holds bytes that are not UTF-8"}},
		{"not UTF-8, in data", "hosts-list", "{\"searchterm\": \"\xff\"}", nil, []string{"not UTF-8"}},
		{"below zero", "hosts-list", "", []string{"start=-1"}, []string{`start: "-1" is less than 0`}},
		{"no path has room for it", "hosts-get", "", []string{"node_id=" + strings.Repeat("7", 4000)}, []string{"node_id: is longer than 2048 bytes"}},
		{"reopening by a slip", "alerts-update", "", []string{"alert_ids=1"}, []string{"resolve: say true to resolve or false to reopen"}},
		{"every host by a slip", "distributed-add", "", []string{"query=select 1", "nodes= ,"}, []string{"no target named"}},
		{"every host by a slip, v0", "v0-distributed-add", "", []string{"query=select 1"}, []string{"no target named"}},
		{"every host by a slip, an action", "response-add", "", []string{"target=process", "action=stop"}, []string{"no target named: give actuator_id or tags or os_name"}},
		{"every host by a slip, a script", "response-custom-action", "", []string{"file_type=1", "content=dir"}, []string{"no target named: give host_identifier or tags or os_name"}},
		{"every host by a slip, deleted", "hosts-delete-bulk", "", nil, []string{"no target named: give host_identifiers or node_ids"}},
		{"several", "hosts-list", `{"enabled": "x"}`, []string{"limit=y", "z=1"}, []string{"enabled:", "limit:", `unknown argument "z"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := connector.NewInvocation(catalogue.Find(tt.id), []byte(tt.data), given(tt.pairs...)...)
			if !errors.Is(err, connector.ErrInvalid) && !errors.Is(err, connector.ErrEmptyTarget) {
				t.Fatalf("error %v", err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("%d lines, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.Contains(lines[i], want) || !strings.HasPrefix(lines[i], tt.id+": ") {
					t.Errorf("line %d\n got %s\nwant %s: ... %s", i+1, lines[i], tt.id, want)
				}
			}
		})
	}
}

// What is secret is not repeated where it is wrong.
func TestInvocationKeepsSecrets(t *testing.T) {
	_, err := connector.NewInvocation(catalogue.Find("email-test"), []byte(`{"password": {"of": "hunter2hunter2"}}`))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
	inv, err := connector.NewInvocation(catalogue.Find("auth-login"), nil, given("username=me", "password=hunter2hunter2")...)
	if err != nil {
		t.Fatal(err)
	}
	if got := inv.Secrets(); len(got) != 1 || got[0] != "hunter2hunter2" {
		t.Errorf("secrets %q", got)
	}
}

// An argument in the path, in a query, in JSON, as a list, from a file.
func TestInvoke(t *testing.T) {
	r := newCrossRig(t, cross{})
	first := r.sim.Hosts()[0]
	for range 3 {
		r.sim.Raise(ersim.AlertSpec{Host: first.Identifier})
	}

	host := r.invoke("hosts-get", "", "node_id="+first.Identifier)["data"].(map[string]any)
	r.is("host in the path", host["host_identifier"], first.Identifier)

	listed := r.invoke("hosts-list", `{"limit": 5, "start": 0}`, "limit=2")["data"].(map[string]any)["results"].([]any)
	r.is("hosts; the argument counts before the data", len(listed), 2)

	counts := r.invoke("alerts-count-by-source", "", "host_identifier="+first.Identifier)
	r.is("counts in the query", counts["status"], "success")

	for _, list := range [][]string{{"alert_ids=1,2"}, {"alert_ids=[1, 2]"}, {"alert_ids=1", "alert_ids=2"}} {
		r.invoke("alerts-update", "", append(list, "resolve=true", "verdict=true", "comment=seen")...)
		r.is("resolved by "+strings.Join(list, " "), r.sim.Alerts()[0].Status, "RESOLVED")
		r.is("not resolved", r.sim.Alerts()[2].Status, "OPEN")
		r.invoke("alerts-update", `{"resolve": false, "alert_ids": [1, "2"]}`)
		r.is("opened again", r.sim.Alerts()[0].Status, "OPEN")
	}
	if !r.made("hosts-get") || !r.made("alerts-update") {
		t.Error("the calls are not counted under their ids")
	}
}

func TestInvokeRefusals(t *testing.T) {
	r := newCrossRig(t, cross{profile: "4.0-community"})
	for _, tt := range []struct {
		id    string
		pairs []string
		kind  error
		text  string
	}{
		{"response-status-all", nil, connector.ErrUnavailable, "not available on this server (Enterprise only)"},
		{"response-add", []string{"target=process", "action=stop", "actuator_id=x"}, connector.ErrUnavailable, "Enterprise only"},
		{"hosts-get", []string{"node_id=nosuch"}, connector.ErrNotFound, "GET /hosts/nosuch"},
		{"auth-login", []string{"username=admin", "password=wrong"}, connector.ErrBadCredentials, "wrong"},
		{"carves-download", []string{"session_id=NOSUCH"}, connector.ErrNotFound, "NOSUCH"},
		{"ws-distributed-result", nil, connector.ErrInvalid, "it is a websocket"},
	} {
		c := catalogue.Find(tt.id)
		arguments := given(tt.pairs...)
		if c.Method == "SOCKET" {
			arguments = fillIn(t, c)
		}
		inv, err := connector.NewInvocation(c, nil, arguments...)
		r.ok(err)
		var out bytes.Buffer
		answer, err := r.client.Invoke(t.Context(), inv, &out)
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.id, err)
		}
		if answer.Body != nil || out.Len() > 0 {
			t.Errorf("%s: an answer beside the error", tt.id)
		}
	}
}

// Release 2.1.2 does not know OS names, and without another target asks every host.
func TestInvokeByOSNameOfAnOldServer(t *testing.T) {
	for profile, want := range map[string]error{"2.1.2": connector.ErrUnavailable, "4.0": nil} {
		r := newCrossRig(t, cross{profile: profile})
		for _, pairs := range [][]string{{"os_name=Ubuntu"}, {"os_name=Ubuntu", "nodes=" + r.sim.Hosts()[0].Identifier}} {
			inv, err := connector.NewInvocation(catalogue.Find("distributed-add"), nil, given(append(pairs, "query=select 1;")...)...)
			r.ok(err)
			if _, err := r.client.Invoke(t.Context(), inv, nil); !errors.Is(err, want) {
				t.Errorf("%s, %v: %v", profile, pairs, err)
			}
		}
		r.is("sent to "+profile, r.made("distributed-add"), want == nil)
	}
}

// A logout goes with the token, and the next call logs in again.
func TestInvokeLogout(t *testing.T) {
	r := newCrossRig(t, cross{})
	r.ok(r.client.Login(t.Context()))
	r.is("logout", r.invoke("auth-logout", "")["status"], "success")
	r.is("afterwards", r.invoke("hosts-count", "")["status"], "success")
}

func TestInvokeCarve(t *testing.T) {
	r := newCrossRig(t, cross{})
	host := r.sim.Hosts()[0]
	_, err := r.client.Queries.Live(t.Context(), connector.LiveQuery{
		SQL: "select * from carves where carve = 1 and path = '" + host.Files[0] + "';", Hosts: []string{host.Identifier}})
	r.ok(err)
	var session string
	for session == "" {
		for carve, err := range r.client.Carves.List(t.Context(), connector.CarveQuery{}) {
			r.ok(err)
			if carve.Done() {
				session = carve.SessionID
			}
		}
	}
	inv, err := connector.NewInvocation(catalogue.Find("carves-download"), nil, given("session_id="+session)...)
	r.ok(err)
	var out bytes.Buffer
	answer, err := r.client.Invoke(t.Context(), inv, &out)
	r.ok(err)
	r.is("bytes", answer.Written, int64(out.Len()))
	if _, err := tar.NewReader(&out).Next(); err != nil {
		t.Errorf("not an archive: %v", err)
	}
	r.sim.Inject(ersim.Fault{Kind: ersim.Truncate, Call: "carves-download", Count: -1})
	if _, err := r.client.Invoke(t.Context(), inv, &out); err == nil {
		t.Error("half a carve is no error")
	}
}

// The frames of a live query, until its deadline.
func TestFrames(t *testing.T) {
	for _, profile := range []string{"4.0", "2.1.2"} {
		t.Run(profile, func(t *testing.T) {
			r := newCrossRig(t, cross{profile: profile})
			host := r.sim.Hosts()[0]
			ticket, err := r.client.Queries.Live(t.Context(), connector.LiveQuery{SQL: "SELECT name FROM processes;", Hosts: []string{host.Identifier}})
			r.ok(err)
			inv, err := connector.NewInvocation(catalogue.Find("ws-distributed-result"), nil, given("query_id="+strconv.FormatInt(ticket.QueryID, 10))...)
			r.ok(err)
			enough := errors.New("enough")
			var frame map[string]any
			err = r.client.Frames(t.Context(), inv, time.Minute, func(text []byte) error {
				r.ok(json.Unmarshal(text, &frame))
				return enough
			})
			if !errors.Is(err, enough) {
				t.Fatalf("error %v", err)
			}
			r.is("query", frame["query_id"], float64(ticket.QueryID))
			if rows, ok := frame["data"].([]any); !ok || len(rows) == 0 {
				t.Errorf("frame %v", frame)
			}
		})
	}
	r := newCrossRig(t, cross{})
	inv, err := connector.NewInvocation(catalogue.Find("hosts-count"), nil)
	r.ok(err)
	if err := r.client.Frames(t.Context(), inv, time.Second, nil); !errors.Is(err, connector.ErrInvalid) {
		t.Errorf("frames of a call: %v", err)
	}
}

// A probe finds what the edition has, and makes no call.
func TestHas(t *testing.T) {
	for profile, want := range map[string]map[string]bool{
		"4.0":           {"hosts-count": true, "hosts-get": true, "response-status-all": true, "alerts-alerted-events": true},
		"4.0-community": {"hosts-count": true, "response-status-all": false, "alerts-notes-list": false},
		"2.1.2":         {"hosts-count": true, "alerts-alerted-events": false, "hosts-export-filtered": false},
	} {
		t.Run(profile, func(t *testing.T) {
			r := newCrossRig(t, cross{profile: profile})
			nothing, err := r.client.HasNothing(t.Context())
			r.ok(err)
			r.is("tells what it does not have", nothing, true)
			for id, want := range want {
				has, err := r.client.Has(t.Context(), catalogue.Find(id))
				r.ok(err)
				r.is(id, has, want)
			}
			if r.made("auth-login") {
				t.Error("a probe has logged in")
			}
		})
	}
	r := newCrossRig(t, cross{})
	for _, id := range []string{"alerts-update", "auth-login", "ws-live-response"} {
		if _, err := r.client.Has(t.Context(), catalogue.Find(id)); !errors.Is(err, connector.ErrInvalid) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if calls := r.sim.Calls(); len(calls) > 0 {
		t.Errorf("calls were made: %v", calls)
	}
}

func TestTokenEnd(t *testing.T) {
	r := newCrossRig(t, cross{})
	if _, ok := r.client.TokenEnd(); ok {
		t.Error("an end without a login")
	}
	r.ok(r.client.Login(t.Context()))
	end, ok := r.client.TokenEnd()
	if left := time.Until(end); !ok || left > 7*24*time.Hour+time.Minute || left < 7*24*time.Hour-time.Hour {
		t.Errorf("the token ends in %v, %v", left, ok)
	}
}
