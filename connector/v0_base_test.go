package connector

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestBaseCandidatesOfV0(t *testing.T) {
	for _, tt := range []struct {
		url, path, api string
		want           []string
		text           string
	}{
		{"https://er.example", "", "v0", []string{
			"https://er.example:5000/services/api/v0", "https://er.example/services/api/v0", "https://er.example/esp-ui/services/api/v0"}, ""},
		{"https://er.example:8443", "", "v0", []string{"https://er.example:8443/services/api/v0", "https://er.example:8443/esp-ui/services/api/v0"}, ""},
		{"https://er.example", "/x/api/v0/", "v0", []string{"https://er.example/x/api/v0"}, ""},
		{"https://er.example", "/behind/a/proxy", "v0", []string{"https://er.example/behind/a/proxy"}, ""},
		{"https://er.example", "/services/api/v0", "", nil, `base path "/services/api/v0" is that of API v0, and the client is to speak v1`},
		{"https://er.example/services/api/v1", "", "v0", nil, `base path "/services/api/v1" is that of API v1, and the client is to speak v0`},
		{"https://er.example", "", "v2", nil, `API "v2": expected v1 or v0`},
	} {
		u, err := serverURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		got, err := baseCandidates(u, tt.path, tt.api)
		switch {
		case tt.text != "" && (err == nil || err.Error() != tt.text), tt.text == "" && err != nil, !slices.Equal(got, tt.want):
			t.Errorf("%s %s %s: got %v, %v", tt.url, tt.path, tt.api, got, err)
		}
	}
}

// On servers that have both, v0 stands beside v1, wherever that is.
func TestV0BesideV1(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if strings.HasSuffix(r.URL.Path, "/login") {
			answerJSON(w, 200, `{"token":"t"}`)
			return
		}
		answerJSON(w, 200, `{"status":"success","message":"","data":["web"]}`)
	}))
	t.Cleanup(server.Close)
	c := newClient(t, server.URL, func(o *Options) { o.BasePath = "/proxy/er/api/v1" })
	if tags, err := c.V0.NodeTags(t.Context(), "A"); err != nil || !slices.Equal(tags, []string{"web"}) {
		t.Errorf("got %v, %v", tags, err)
	}
	if want := []string{"/proxy/er/api/v1/login", "/proxy/er/api/v0/nodes/A/tags"}; !slices.Equal(asked, want) {
		t.Errorf("asked %v", asked)
	}
	asked = nil
	c = newClient(t, server.URL, func(o *Options) { o.BasePath = "/elsewhere" })
	if _, err := c.V0.NodeTags(t.Context(), "A"); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "does not end in /v1") {
		t.Errorf("got %v", err)
	}
	if slices.ContainsFunc(asked, func(path string) bool { return !strings.HasSuffix(path, "/login") }) {
		t.Errorf("asked %v", asked)
	}
}

// What only v1 has is refused before anything is sent, not even a login.
func TestV1OnlyCallsOfAnOldServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL.Path) }))
	t.Cleanup(server.Close)
	c := newClient(t, server.URL, func(o *Options) { o.BasePath, o.API = "", "v0" })
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"resolve":       func() error { return c.Alerts.Resolve(ctx, []int64{1}, true, "") },
		"notes":         func() error { _, err := c.Alerts.Notes(ctx, 1); return err },
		"add note":      func() error { _, err := c.Alerts.AddNote(ctx, 1, "x"); return err },
		"index":         func() error { _, err := c.Index(ctx); return err },
		"removed hosts": func() error { _, err := c.Hosts.Page(ctx, HostQuery{Enabled: new(false)}); return err },
		"host order":    func() error { _, err := c.Hosts.Page(ctx, HostQuery{Column: "last_ip"}); return err },
		"OS names": func() error {
			_, err := c.Queries.Live(ctx, LiveQuery{SQL: "select 1", OSNames: []string{"x"}})
			return err
		},
		"contain": func() error {
			_, err := c.Responses.Contain(ctx, FirewallRule{Hosts: []string{"A"}, RuleName: "r"})
			return err
		},
		"delete carves": func() error { return c.Carves.Delete(ctx, DeleteForGood, "S") },
		"defender":      func() error { _, err := c.Defender.ComputerStatus(ctx, "A"); return err },
	} {
		if err := call(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "API v0") || errors.Is(err, ErrUncertain) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
