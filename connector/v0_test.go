package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// oldServer answers calls of API v0 by method and path, and keeps what was sent.
type oldServer struct {
	answers map[string]string
	mu      sync.Mutex
	sent    map[string]string
}

// newOldServer makes the client of such a server, which takes every login.
func newOldServer(t *testing.T, answers map[string]string) (*Client, *oldServer) {
	t.Helper()
	s := &oldServer{answers: answers, sent: map[string]string{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return newClient(t, server.URL, func(o *Options) { o.BasePath, o.API = "/api/v0", "v0" }), s
}

func (s *oldServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + strings.TrimPrefix(r.URL.RequestURI(), "/api/v0")
	text, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.sent[call] = string(text)
	s.mu.Unlock()
	switch answer, ok := s.answers[call]; {
	case ok && strings.HasPrefix(answer, "HTTP 401"):
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "Unauthorized Access")
	case ok:
		answerJSON(w, http.StatusOK, answer)
	case call == "POST /login":
		answerJSON(w, http.StatusOK, `{"token": "t"}`)
	default:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
	}
}

// body is what was sent with a call.
func (s *oldServer) body(call string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[call]
}

func success(data string) string { return `{"status":"success","message":"","data":` + data + `}` }

func TestV0TokenUnderAnotherName(t *testing.T) {
	c, _ := newOldServer(t, map[string]string{"POST /login": `{"x-access-token": "abc"}`})
	if err := c.Login(t.Context()); err != nil || c.session.token.text != "abc" {
		t.Errorf("token %q, %v", c.session.token.text, err)
	}
}

// Basic authentication of the framework says no with HTTP 401 and a sentence.
func TestV0WrongPasswordAs401(t *testing.T) {
	c, _ := newOldServer(t, map[string]string{"POST /login": "HTTP 401"})
	if err := c.Login(t.Context()); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("got %v", err)
	}
	if _, err := c.V0.Login(t.Context(), "a", soar.SecretValue("b")); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("got %v", err)
	}
}

func TestV0NodesOfAllDocuments(t *testing.T) {
	c, _ := newOldServer(t, map[string]string{"GET /nodes/": success(`[
		{"host_identifier":"A","enrolled_on":"2018-07-24 06:22:48","last_checkin":"2018-08-01 13:42:05","network_info":{"mac_address":"54:26"},
		 "node_info":{"computer_name":"mac"},"node_key":"secret","tags":["second","first"]},
		{"id":4,"host_identifier":"B","last_checkin":"2019-04-08T06:32:27.355782","os_info":{"platform":"windows","name":"Windows"},"tags":[{"id":1,"value":"foo"}]},
		{"id":5,"host_identifier":"C","os_info":null,"tags":null}, 7, {"id":6}]`)})
	page, err := c.V0.Nodes(t.Context(), V0NodeQuery{})
	if err != nil || len(page.Results) != 3 || len(page.Malformed) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	a, b := page.Results[0], page.Results[1]
	if a.Name != "mac" || a.MAC != "54:26" || !slices.Equal(a.Tags, []string{"second", "first"}) || a.EnrolledOn.Year() != 2018 || a.Online != nil {
		t.Errorf("%+v", a)
	}
	if b.Platform != "windows" || !slices.Equal(b.Tags, []string{"foo"}) || b.LastCheckin.IsZero() {
		t.Errorf("%+v", b)
	}
	for _, bad := range page.Malformed {
		if len(bad.Raw) == 0 {
			t.Errorf("%v is not kept", bad)
		}
	}
	if text := fmt.Sprintf("%+v", page.Results); strings.Contains(text, "secret") {
		t.Error("the node key is kept")
	}
}

// Releases that do not heed the question for who is online name everybody; the last
// check-in decides then.
func TestV0OnlineByLastCheckin(t *testing.T) {
	now := time.Now().UTC()
	nodes := success(fmt.Sprintf(`[{"id":1,"host_identifier":"A","last_checkin":%q},{"id":2,"host_identifier":"B","last_checkin":%q},{"id":3,"host_identifier":"C"}]`,
		now.Add(-time.Minute).Format(time.DateTime), now.Add(-time.Hour).Format(time.DateTime)))
	c, _ := newOldServer(t, map[string]string{"GET /nodes/": nodes, "GET /nodes/?state=true": nodes})
	page, err := c.Hosts.Page(t.Context(), HostQuery{})
	if err != nil || len(page.Results) != 3 {
		t.Fatal(page, err)
	}
	for i, want := range []bool{true, false, true} {
		if got := page.Results[i].Online; got == nil || *got != want {
			t.Errorf("%s: %v", page.Results[i].Identifier, got)
		}
	}
}

const oldAlertOf = `{"created_at":"Tue, 31 Jul 2018 14:19:30 GMT","message":{"pid":"1"},"node_id":1,"query_name":"processes","rule_id":3,"sql":null}`

// A derived id is the same whenever the alert is read, in whatever order and with
// whatever status, and grows with time.
func TestV0DerivedIDs(t *testing.T) {
	read := func(text string) Alert {
		v, err := parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		a, err := alertRow(tidyAlert(v))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := read(oldAlertOf)
	if !first.HasDerivedID() || first.RuleID != 3 || first.CreatedAt.IsZero() {
		t.Errorf("%+v", first)
	}
	same := read(`{"status":"RESOLVED","rule_id":3,"node_id":1,"query_name":"processes","created_at":"2018-07-31T14:19:30","message":"{\"pid\": 1}"}`)
	if same.ID != first.ID {
		t.Errorf("%d is not %d", same.ID, first.ID)
	}
	later := read(strings.Replace(oldAlertOf, "14:19:30", "14:19:31", 1))
	if later.ID <= first.ID {
		t.Errorf("%d is not above %d", later.ID, first.ID)
	}
	for what, change := range map[string][2]string{
		"host": {`"node_id":1`, `"node_id":2`}, "rule": {`"rule_id":3`, `"rule_id":4`}, "query": {`"processes"`, `"users"`}, "event": {`"pid":"1"`, `"pid":"2"`},
	} {
		if other := read(strings.Replace(oldAlertOf, change[0], change[1], 1)); other.ID == first.ID {
			t.Errorf("another %s has the same id", what)
		}
	}
	if undated := read(`{"message":{"a":"b"},"created_at":"whenever"}`); !undated.HasDerivedID() || undated.ID >= first.ID {
		t.Errorf("without a time: %d", undated.ID)
	}
	if told := read(strings.Replace(oldAlertOf, "{", `{"id":7,`, 1)); told.ID != 7 || told.HasDerivedID() {
		t.Errorf("id %d", told.ID)
	}
	if n := Normalize("er", "https://er.example", first, nil, nil); n.URL != "" || n.ID != fmt.Sprint(first.ID) {
		t.Errorf("normal %+v", n)
	}
}

// Alerts of feeds name rule 1, which has nothing to do with them.
func TestV0FeedAlertHasNoRule(t *testing.T) {
	v, _ := parse([]byte(`{"id":1,"source":"virustotal","rule_id":1,"rule":{"id":1,"name":"Some rule"},"source_data":{"a":1}}`))
	a, err := alertRow(tidyAlert(v))
	if err != nil || a.RuleID != 0 || a.RuleName != "" || string(a.Intel) != `{"a":1}` {
		t.Errorf("%+v, %v", a, err)
	}
	v, _ = parse([]byte(`{"id":1,"source":"rule","rule_id":1,"rule_name":"Some rule"}`))
	if a, err := alertRow(tidyAlert(v)); err != nil || a.RuleID != 1 || a.RuleName != "Some rule" {
		t.Errorf("%+v, %v", a, err)
	}
}

// A host's list that cannot be read leaves nothing half-read, and a host without
// alerts is no failure.
func TestV0AlertsHostByHost(t *testing.T) {
	answers := map[string]string{
		"GET /nodes/":   success(`[{"id":1,"host_identifier":"A","node_info":{"computer_name":"a"}},{"id":2,"host_identifier":"B"}]`),
		"POST /alerts/": `{"status":"failure","message":"no data is given to view alerts"}`,
	}
	c, server := newOldServer(t, answers)
	if page, err := c.Alerts.Page(t.Context(), AlertQuery{}); err != nil || page.Results == nil || page.Count != 0 {
		t.Errorf("%+v, %v", page, err)
	}
	if sent := server.body("POST /alerts/"); !strings.Contains(sent, `"host_identifier":"`) {
		t.Errorf("sent %s", sent)
	}
	c, _ = newOldServer(t, map[string]string{"GET /nodes/": answers["GET /nodes/"], "POST /alerts/": "garbage"})
	if _, err := c.Alerts.Page(t.Context(), AlertQuery{}); !errors.Is(err, ErrNotJSON) {
		t.Errorf("got %v", err)
	}
	c, _ = newOldServer(t, map[string]string{"GET /nodes/": answers["GET /nodes/"], "POST /alerts/": success("[" + oldAlertOf + ",7]")})
	page, err := c.Alerts.Page(t.Context(), AlertQuery{})
	if err != nil || len(page.Results) != 1 || page.Results[0].Hostname != "a" || len(page.Malformed) != 1 || string(page.Malformed[0].Raw) != "7" {
		t.Errorf("%+v, %v", page, err)
	}
	id := page.Results[0].ID
	if a, err := c.Alerts.Get(t.Context(), id); err != nil || a.ID != id || a.Columns["pid"] != "1" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := c.Alerts.Get(t.Context(), id+1); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Alerts.Get(t.Context(), 7); !errors.Is(err, ErrNotFound) { // the call came late
		t.Errorf("got %v", err)
	}
}

func TestV0IDsWhereverTheyStand(t *testing.T) {
	for _, answer := range []string{
		`{"status":"success","query_id":"12"}`, `{"status":"success","query_id":12}`, success(`12`), success(`"12"`), success(`{"query_id":12}`),
	} {
		c, _ := newOldServer(t, map[string]string{"POST /distributed/add": answer})
		if id, err := c.V0.LiveQuery(t.Context(), LiveQuery{SQL: "select 1", AllHosts: true}); err != nil || id != 12 {
			t.Errorf("%s: %d, %v", answer, id, err)
		}
	}
	c, _ := newOldServer(t, map[string]string{"POST /distributed/add": `{"status":"success"}`})
	if _, err := c.V0.LiveQuery(t.Context(), LiveQuery{SQL: "select 1", AllHosts: true}); !errors.Is(err, ErrUncertain) {
		t.Errorf("without an id: %v", err)
	}
}

func TestV0SendsWhatTheServerBreaksWithout(t *testing.T) {
	c, server := newOldServer(t, map[string]string{
		"POST /nodes/tag/edit": success("null"), "POST /queries/add": `{"status":"success","query_id":1}`,
		"POST /packs/add": `{"status":"success","pack_id":1}`, "POST /rules/add": `{"status":"success","rule_id":1}`,
		"POST /response/add": `{"status":"success","command_id":"c"}`,
		"GET /nodes/":        success(`[{"id":1,"host_identifier":"A","node_info":{"computer_name":"pc"}},{"id":2,"host_identifier":"B","node_info":{"computer_name":"twin"}},{"id":3,"host_identifier":"C","node_info":{"computer_name":"TWIN"}}]`),
	})
	ctx := t.Context()
	query := ScheduledQuery{Name: "q", SQL: "select 1", Interval: time.Minute}
	for _, err := range []error{
		c.Hosts.AddTag(ctx, "A", "x"),
		errorOf(c.V0.AddQuery(ctx, query)),
		errorOf(c.V0.AddPack(ctx, NewPack{Name: "p", Queries: []ScheduledQuery{query}})),
		errorOf(c.V0.AddRule(ctx, RuleSpec{Name: "r", Description: "d", Condition: Where("path", OpContains, "x")})),
		errorOf(c.Responses.StopProcess(ctx, StopProcess{Hosts: []string{"A"}, PID: "7"})),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	for call, want := range map[string]string{
		"POST /nodes/tag/edit": `{"add_tags":"x","host_identifier":"A","remove_tags":""}`,
		"POST /queries/add":    `{"interval":60,"name":"q","query":"select 1","snapshot":false,"tags":""}`,
		"POST /response/add":   `{"action":"stop","actuator":{"endpoint":"polylogyx_vasp"},"target":{"process":{"device":{"hostname":"pc"},"pid":7}}}`,
	} {
		if got := server.body(call); got != want {
			t.Errorf("%s\n got %s\nwant %s", call, got, want)
		}
	}
	for call, key := range map[string]string{"POST /packs/add": "tags", "POST /rules/add": "alerters"} {
		var sent map[string]any
		if err := json.Unmarshal([]byte(server.body(call)), &sent); err != nil || sent[key] == nil {
			t.Errorf("%s: %s, %v", call, server.body(call), err)
		}
	}
	if _, err := c.Responses.StopProcess(ctx, StopProcess{Hosts: []string{"B"}, PID: "7"}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "2 are called") {
		t.Errorf("a name that two hosts have: %v", err)
	}
}

func errorOf[T any](_ T, err error) error { return err }

func TestV0BadInput(t *testing.T) {
	c, server := newOldServer(t, nil)
	ctx := t.Context()
	for name, err := range map[string]error{
		"tag":              c.V0.AddTags(ctx, "a b"),
		"comma in a tag":   c.V0.EditNodeTags(ctx, "A", TagEdit{Add: []string{"a,b"}}),
		"no tags":          c.V0.EditQueryTags(ctx, 1, TagEdit{}),
		"none to add":      c.V0.AddPackTags(ctx, "p"),
		"both filters":     errorOf(c.V0.Nodes(ctx, V0NodeQuery{Platform: "windows", Online: true})),
		"OS names":         errorOf(c.V0.LiveQuery(ctx, LiveQuery{SQL: "select 1", OSNames: []string{"x"}})),
		"empty SQL":        errorOf(c.V0.LiveQuery(ctx, LiveQuery{Hosts: []string{"A"}})),
		"apostrophe":       errorOf(c.V0.QueryResults(ctx, V0TableQuery{Host: "A", Search: "x'y"})),
		"negative start":   errorOf(c.V0.ScheduleResults(ctx, V0ResultQuery{Host: "A", Query: "q", Start: -1})),
		"no description":   errorOf(c.V0.AddRule(ctx, RuleSpec{Name: "r", Condition: Where("path", OpContains, "x")})),
		"empty indicators": c.V0.ReplaceIOCs(ctx, nil, ReplaceEverything),
		"no consent":       c.V0.DeleteResultsOlder(ctx, 7, "please"),
		"pack file":        errorOf(c.V0.UploadPack(ctx, Upload{Name: "p.json", Content: []byte("[]")}, "")),
		"TLS":              c.V0.TestEmail(ctx, EmailSettings{TLS: true}),
		"no file":          errorOf(c.V0.DeleteFile(ctx, V0DeleteFile{Hostname: "a"})),
		"process 0":        errorOf(c.V0.StopProcess(ctx, V0StopProcess{Hostname: "a"})),
		"filters":          errorOf(c.V0.UpdatePlatformConfig(ctx, OldConfig{OldConfigKey: OldConfigKey{Platform: "linux"}, Filters: []byte("[]")})),
		"path":             errorOf(c.V0.Node(ctx, "..")),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"live query": errorOf(c.V0.LiveQuery(ctx, LiveQuery{SQL: "select 1"})),
		"tags":       c.V0.EditNodeTags(ctx, "", TagEdit{Add: []string{"a"}}),
		"export":     errorOf(c.V0.ExportSearch(ctx, Where("path", OpContains, "x"), "", io.Discard)),
		"command":    errorOf(c.V0.StopProcess(ctx, V0StopProcess{PID: 1})),
		"carve":      errorOf(c.V0.CarveByQuery(ctx, 1, "")),
	} {
		if !errors.Is(err, ErrEmptyTarget) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(server.sent) != 0 {
		t.Errorf("sent %v", server.sent)
	}
}

// The pages of a list are of one reading; a first page reads anew, but for a list
// beside, for which the rows of the main one do for a while.
func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, reads := newSnapshot[int](), 0
		page := func(of string, start int, beside bool) int {
			rows, err := s.page(t.Context(), of, start, beside, func(context.Context) ([]int, error) {
				reads++
				return []int{reads}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return rows[0]
		}
		for i, step := range []struct {
			of     string
			start  int
			beside bool
			wait   time.Duration
			want   int
		}{
			{"", 0, false, 0, 1}, {"", 10, false, 0, 1}, {"", 0, true, 0, 1}, {"", 10, true, 0, 1}, // a poll
			{"", 0, true, 0, 1},                  // the list beside once more
			{"", 0, false, 0, 2},                 // the next poll
			{"A", 10, false, 0, 3},               // another list
			{"A", 10, false, 2 * time.Minute, 4}, // too long ago
			{"", 0, false, 0, 5},
			{"", 0, true, 10 * time.Second, 6},
		} {
			time.Sleep(step.wait)
			if got := page(step.of, step.start, step.beside); got != step.want {
				t.Errorf("step %d: reading %d, want %d", i, got, step.want)
			}
		}
		failure := errors.New("away")
		if _, err := s.page(t.Context(), "B", 0, false, func(context.Context) ([]int, error) { return nil, failure }); !errors.Is(err, failure) {
			t.Error(err)
		}
		if got := page("", 10, false); got != 6 {
			t.Errorf("after a failure: reading %d", got)
		}
	})
}
