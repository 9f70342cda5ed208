package connector

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// script answers calls from a table of "METHOD /path" to body; what is not in it is
// HTTP 500. It keeps what was sent.
type script struct {
	t       *testing.T
	answers map[string]string

	mu   sync.Mutex
	sent []string // "METHOD /path body"
}

func (s *script) client() *Client {
	return newClient(s.t, newServer(s.t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.t.Error(err)
		}
		call := r.Method + " " + strings.TrimPrefix(r.URL.EscapedPath(), "/api")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent = append(s.sent, strings.TrimSpace(call+" "+string(body)))
		answer, ok := s.answers[call]
		if !ok {
			answerJSON(w, http.StatusInternalServerError, `{"message":"Internal Server Error"}`)
			return
		}
		answerJSON(w, http.StatusOK, answer)
	}).URL)
}

// last checks the last call that was made, its body compared as JSON.
func (s *script) last(call, body string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) == 0 {
		s.t.Fatalf("nothing was sent, want %s", call)
	}
	last := s.sent[len(s.sent)-1]
	got, ok := strings.CutPrefix(last, call+" ")
	if !ok {
		s.t.Fatalf("sent %s, want %s", last, call)
	}
	if g, w := canonical(s.t, got), canonical(s.t, body); g != w {
		s.t.Errorf("%s\n got %s\nwant %s", call, g, w)
	}
}

// writes are the calls that were sent with another method than GET, but for lists.
func (s *script) writes() (calls []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sent {
		call, _, _ := strings.Cut(one, " {")
		if !strings.HasPrefix(call, "GET ") && call != "POST /packs" {
			calls = append(calls, call)
		}
	}
	return calls
}

func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

const oddConfigs = `{"status":"success","data":{
	"windows":{
		"Default":{"id":"3","is_default":"true","conditions":null,"description":null,"filters":null,"queries":{
			"users":{"query":"select * from users;","interval":"3600","status":1,"snapshot":true,"description":"d","status_of":"new key"}}},
		"Mine":{"id":4,"conditions":{"hostname":{"value":"WIN"},"serial":{"value":"1"}},"description":"x","filters":{"a":[1]},"queries":{
			"users":{"query":"select * from users;","interval":60,"status":true},"odd":{"interval":-1,"status":null}}},
		"Broken":{"name":"no id"}},
	"plan9":{"New":{"id":9}}}}`

func TestConfigsListOdd(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"GET /configs": oddConfigs}}
	var names []string
	for c, err := range s.client().Configs.List(t.Context()) {
		if bad, ok := errors.AsType[*MalformedError](err); ok {
			names = append(names, bad.Reason+" "+string(bad.Raw))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, c.Platform+"/"+c.Name)
		if c.ID == 3 && (!c.Default || c.Filters != nil || c.Queries["users"] != ConfigQuery{true, time.Hour, "select * from users;", "d", true}) {
			t.Errorf("%+v", c)
		}
		if c.ID == 4 && (c.Conditions.Hostname != "WIN" || string(c.Conditions.Others["serial"]) != `{"value":"1"}` || c.Queries["odd"].Interval != 0) {
			t.Errorf("%+v", c)
		}
	}
	want := []string{"plan9/New", `config without id {"name":"no id"}`, "windows/Default", "windows/Mine"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	for _, body := range []string{`{"status":"success"}`, `{"status":"success","data":[]}`, `{"status":"success","data":"none"}`} {
		s.answers["GET /configs"] = body
		for _, err := range s.client().Configs.List(t.Context()) {
			if !errors.Is(err, ErrNotJSON) {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
}

func TestConfigsListStops(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"GET /configs": oddConfigs}}
	n := 0
	for _, err := range s.client().Configs.List(t.Context()) {
		if n++; err != nil {
			t.Error(err)
		}
		break
	}
	if n != 1 {
		t.Error(n)
	}
}

func TestConfigsModifyKeepsWhatItDoesNotKnow(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"GET /configs": oddConfigs, "PUT /configs/4": `{"status":"success"}`}}
	_, err := s.client().Configs.Modify(t.Context(), 4, always(func(c *Config) {
		c.Conditions.OSName = "Windows"
		q := c.Queries["users"]
		q.Enabled = false
		c.Queries["users"] = q
	}))
	if err != nil {
		t.Fatal(err)
	}
	s.last("PUT /configs/4", `{"conditions":{"hostname":{"value":"WIN"},"os_name":{"value":"Windows"},"serial":{"value":"1"}},
		"queries":{"users":{"status":false,"interval":60}}}`)
	_, err = s.client().Configs.Modify(t.Context(), 4, always(func(c *Config) { c.Conditions.Hostname = "" }))
	if !errors.Is(err, ErrInvalid) { // the server takes the other condition alone for a mistake
		t.Error(err)
	}
}

func TestConfigsUpdateSends(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"PUT /configs/4": `{"status":"success","data":null}`}}
	c := s.client()
	if err := c.Configs.Update(t.Context(), 4, ConfigUpdate{}); err != nil {
		t.Fatal(err)
	}
	s.last("PUT /configs/4", `{"conditions":{}}`)
	err := c.Configs.Update(t.Context(), 4, ConfigUpdate{Name: "n", Description: "d", Filters: []byte(`{"a": 1}`),
		Queries: map[string]ConfigQuery{"q": {Enabled: true, Interval: time.Minute, SQL: "is not sent"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.last("PUT /configs/4", `{"conditions":{},"name":"n","description":"d","filters":{"a":1},"queries":{"q":{"status":true,"interval":60}}}`)
}

func TestConfigsAdd(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"GET /configs": oddConfigs, "POST /configs": `{"status":"success","data":"8"}`}}
	c := s.client()
	n := NewConfig{Name: "n", Platform: "windows", Queries: map[string]ConfigQuery{"users": {Enabled: true}}}
	id, err := c.Configs.Add(t.Context(), n)
	if err != nil || id != 8 {
		t.Fatal(id, err)
	}
	s.last("POST /configs", `{"name":"n","platform":"windows","conditions":{},
		"queries":{"users":{"query":"select * from users;","interval":3600,"status":true,"snapshot":true,"description":"d"}}}`)
	s.answers["POST /configs"] = `{"status":"success"}`
	if _, err = c.Configs.Add(t.Context(), n); !errors.Is(err, ErrUncertain) {
		t.Errorf("without id: %v", err)
	}
	n.Platform = "linux" // has no default in this list
	if _, err = c.Configs.Add(t.Context(), n); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrUncertain) {
		t.Errorf("without default: %v", err)
	}
	if got := s.writes(); len(got) != 2 {
		t.Errorf("sent %q", got)
	}
}

// TestConfigsRefused lists what is refused before anything is sent, and that the
// error names argument and set.
func TestConfigsRefused(t *testing.T) {
	s := &script{t: t}
	c, ctx := s.client(), t.Context()
	add := func(n NewConfig) error { _, err := c.Configs.Add(ctx, n); return err }
	update := func(u ConfigUpdate) error { return c.Configs.Update(ctx, 1, u) }
	assign := func(id int64, hosts, tags []string) error {
		_, err := c.Configs.Assign(ctx, id, hosts, tags)
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		is   error
		text string
	}{
		{"platform", add(NewConfig{Name: "x", Platform: "Windows"}), ErrInvalid, "windows, linux, darwin"},
		{"no platform", add(NewConfig{Name: "x"}), ErrInvalid, "platform is empty"},
		{"no name", add(NewConfig{Platform: "linux"}), ErrInvalid, "name"},
		{"all at once", add(NewConfig{}), ErrInvalid, "platform is empty"},
		{"filters", add(NewConfig{Name: "x", Platform: "linux", Filters: []byte(`"text"`)}), ErrInvalid, "filters is not a JSON object"},
		{"other conditions alone", update(ConfigUpdate{Conditions: ConfigConditions{Others: map[string]json.RawMessage{"a": nil}}}), ErrInvalid, "hostname or os_name"},
		{"interval", update(ConfigUpdate{Queries: map[string]ConfigQuery{"q": {}}}), ErrInvalid, `query "q"`},
		{"long interval", update(ConfigUpdate{Queries: map[string]ConfigQuery{"q": {Interval: 1 << 62}}}), ErrInvalid, "2147483647"},
		{"id", c.Configs.Update(ctx, 0, ConfigUpdate{}), ErrInvalid, "id 0"},
		{"delete without consent", c.Configs.Delete(ctx, 1, ""), ErrInvalid, "delete for good"},
		{"assign to nobody", assign(1, nil, nil), ErrEmptyTarget, "no target"},
		{"assign to an empty name", assign(1, []string{" "}, nil), ErrEmptyTarget, "empty"},
		{"assign to two in one", assign(1, nil, []string{"a,b"}), ErrInvalid, "comma"},
		{"assign nothing", assign(-1, []string{"a"}, nil), ErrInvalid, "id -1"},
	} {
		if !errors.Is(tt.err, tt.is) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	if len(s.sent) != 0 {
		t.Errorf("sent %q", s.sent)
	}
}

// TestAssignCannotBeConfirmed: what happened is uncertain when the hosts cannot be read.
func TestAssignCannotBeConfirmed(t *testing.T) {
	s := &script{t: t, answers: map[string]string{"PUT /configs/4/assign": `{"status":"success"}`}}
	_, err := s.client().Configs.Assign(t.Context(), 4, []string{"B", "A"}, []string{"web"})
	if !errors.Is(err, ErrUncertain) {
		t.Error(err)
	}
	if !slices.Contains(s.sent, `PUT /configs/4/assign {"host_identifiers":"A,B","tags":"web"}`) {
		t.Errorf("sent %q", s.sent)
	}
	s.answers["GET /configs/4/hosts"] = `{"status":"success"}`
	if _, err = s.client().Configs.Assign(t.Context(), 4, []string{"A"}, nil); !errors.Is(err, ErrUncertain) {
		t.Error(err)
	}
	s.answers["GET /configs/4/hosts"] = `{"status":"success","data":[{"id":1,"host_identifier":"A","tags":"x,web"},{"host_identifier":"B"}]}`
	a, err := s.client().Configs.Assign(t.Context(), 4, []string{"A"}, []string{"web"})
	if err != nil || !a.Complete() || len(a.Hosts) != 1 {
		t.Error(a, err)
	}
}

// always makes a change that has no error.
func always[T any](change func(*T)) func(*T) error {
	return func(v *T) error {
		change(v)
		return nil
	}
}
