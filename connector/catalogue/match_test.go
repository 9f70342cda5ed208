package catalogue

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		base         Base
		method, path string
		want         string
	}{
		{V1, "GET", "/hosts/count", "hosts-count"},
		{V1, "GET", "/hosts/7", "hosts-get"},
		{V1, "POST", "/hosts", "hosts-list"},
		{V1, "POST", "/alerts/?x=1", "alerts-list"},
		{V1, "POST", "/alerts/7/alerted_events", "alerts-alerted-events"},
		{V1, "DELETE", "/rules/disable", "rules-delete"},
		{V1, "PUT", "/hosts/delete", "hosts-archive-bulk"},
		{V1, "PUT", "/hosts/7/delete", "hosts-deactivate"},
		{V0, "GET", "/nodes/", "v0-nodes"},
		{V1, "GET", "/hosts//tags", ""},
		{V1, "GET", "/hosts/7/tags/x", ""},
		{V1, "PATCH", "/hosts/7", ""},
		{V1, "GET", "/nosuch", ""},
	} {
		got := ""
		if c := Match(tt.base, tt.method, tt.path); c != nil {
			got = c.ID
		}
		if got != tt.want {
			t.Errorf("Match(%s %s %s) = %q, want %q", tt.base, tt.method, tt.path, got, tt.want)
		}
	}
}

// Every call is found by its own path.
func TestMatchFindsEveryCall(t *testing.T) {
	for _, s := range Sections() {
		for i := range s.Calls {
			c := &s.Calls[i]
			path := strings.NewReplacer("{", "x", "}", "x").Replace(c.Path)
			got := Match(c.Base, c.Method, path)
			if got == nil || got.Path != c.Path && strings.Count(got.Path, "{") != strings.Count(c.Path, "{") {
				t.Errorf("%s: %s %s matches %v", c.ID, c.Method, path, got)
			}
		}
	}
}

func TestIsSecret(t *testing.T) {
	for key, want := range map[string]bool{
		"password": true, "Password": true, "smtp_password": true, "new-password": true, "node_key": true, "nodeKey": true, "api_key": true,
		"apiKeys": true, "credentials": true, "access": false, "pass": false, "x-access-token": true, "token": true, "client_secret": true, "IBMxForceKey": true, "IBMxForcePass": true, "vt_key": true,
		"enroll_secret": true, "key": false, "public_key": false, "session_id": false, "reset_password": true, "name": false, "tokens_left": false,
	} {
		if got := IsSecret(key); got != want {
			t.Errorf("IsSecret(%q) = %v", key, got)
		}
	}
}
