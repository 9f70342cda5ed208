package ersim

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/catalogue"
)

var pathPart = regexp.MustCompile(`\{[^}]*\}`)

// v1Calls are the calls of API v1 that release 4.0 has.
func v1Calls() []*catalogue.Call {
	var calls []*catalogue.Call
	for _, section := range catalogue.Sections() {
		for i := range section.Calls {
			if c := &section.Calls[i]; c.Base == catalogue.V1 && c.Method != "SOCKET" && c.Until == "" {
				calls = append(calls, c)
			}
		}
	}
	return calls
}

// concrete is a path of the catalogue with all parts filled in.
func concrete(path string) string { return pathPart.ReplaceAllString(path, "1") }

// TestAnalystsAreTurnedAway makes every call that the catalogue keeps for admins as
// an analyst. Release 4.0 asks for the role before it looks at the arguments.
func TestAnalystsAreTurnedAway(t *testing.T) {
	r := newRig(t, Options{Profile: "4.0"})
	r.login("analyst")
	made := 0
	for _, c := range v1Calls() {
		if c.Role != roleAdmin {
			continue
		}
		made++
		w := r.send(c.Method, concrete(c.Path), obj{})
		if w.Code != http.StatusForbidden || strings.TrimSpace(w.Body.String()) != `{"message":"Access to this resource is Forbidden!"}` {
			t.Errorf("%s: %s %s: %d %s", c.ID, c.Method, c.Path, w.Code, w.Body)
		}
	}
	if made < 30 {
		t.Errorf("the catalogue keeps only %d calls for admins", made)
	}
}

// TestAnalystsMayDoTheRest makes all other calls as an analyst, each on a server of
// its own: whatever comes, it is not that the role is wrong.
func TestAnalystsMayDoTheRest(t *testing.T) {
	for _, c := range v1Calls() {
		if c.Role == roleAdmin {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			r := newRig(t, Options{Profile: "4.0", Hosts: 1})
			r.login("analyst")
			if w := r.send(c.Method, concrete(c.Path), obj{}); w.Code == http.StatusForbidden {
				t.Errorf("%s %s: %s", c.Method, c.Path, w.Body)
			}
		})
	}
}

// TestRoutesAskForTheRoleOfTheCatalogue compares the table of routes with the
// catalogue, from the side of the table.
func TestRoutesAskForTheRoleOfTheCatalogue(t *testing.T) {
	s := newServer(t, Options{Profile: "4.0"})
	for _, api := range s.apis {
		if api.base != s.profile.base {
			continue
		}
		for _, route := range api.routes {
			c := catalogue.Find(route.id)
			if c == nil {
				t.Errorf("%s is not in the catalogue", route.id)
				continue
			}
			if got := route.kind&needAdmin != 0; got != (c.Role == roleAdmin) {
				t.Errorf("%s asks for the admin role: %v, the catalogue says %q", route.id, got, c.Role)
			}
			if got := route.kind&needToken == 0; got != c.Open {
				t.Errorf("%s is open: %v, the catalogue says %v", route.id, got, c.Open)
			}
		}
	}
}

// TestReleaseTwoHasNoRoles makes the admin calls that release 2.1.2 has.
func TestReleaseTwoHasNoRoles(t *testing.T) {
	r := newRig(t, Options{Profile: "2.1.2", Hosts: 1})
	api := slices.IndexFunc(r.s.apis, func(a api) bool { return a.base == r.s.profile.base })
	for _, route := range r.s.apis[api].routes {
		if c := catalogue.Find(route.id); c == nil || c.Role != roleAdmin {
			continue
		}
		r.login("analyst")
		if w := r.send(route.method, concrete(route.path), obj{}); w.Code == http.StatusForbidden {
			t.Errorf("%s: %s", route.id, w.Body)
		}
	}
}
