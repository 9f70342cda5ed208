package ersim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/catalogue"
)

const strong = "Better#Pass1"

// addUser makes an account with the role analyst.
func (r *rig) addUser(name string) {
	r.t.Helper()
	r.data("POST", "/users", obj{
		"username": name, "email": name + "@example.org", "password": strong, "first_name": "First", "last_name": "Last", "role": "analyst",
	})
}

// refused makes a call that must be refused with HTTP 200 and a text.
func (r *rig) refused(method, path string, body any, text string) {
	r.t.Helper()
	if out := r.call(method, path, body); out["status"] != "failure" || !strings.Contains(fmt.Sprint(out["message"]), text) {
		r.t.Errorf("%s %s %v: %v, want %q", method, path, body, out, text)
	}
}

// code makes a call that must have an HTTP status, and returns the body.
func (r *rig) code(method, path string, body any, want int) string {
	r.t.Helper()
	w := r.send(method, path, body)
	if w.Code != want {
		r.t.Errorf("%s %s %v: %d %s, want %d", method, path, body, w.Code, w.Body, want)
	}
	return strings.TrimSpace(w.Body.String())
}

func TestUserRules(t *testing.T) {
	r := newRig(t, Options{})
	with := func(more obj) obj {
		body := obj{"username": "mia.maker", "email": "mia@example.org", "password": strong, "first_name": "Mia", "role": "analyst"}
		for name, v := range more {
			body[name] = v
		}
		return body
	}
	for _, tt := range []struct {
		more obj
		text string
	}{
		{obj{"username": "mia"}, "Username should contain"},
		{obj{"username": "123456"}, "Username should contain"},
		{obj{"username": strings.Repeat("m", 64)}, "Username should contain"},
		{obj{"password": "Sh#rt1"}, "Password should contain"},
		{obj{"password": "no#upper1"}, "Password should contain"},
		{obj{"password": "NO#LOWER1"}, "Password should contain"},
		{obj{"password": "No#Digits"}, "Password should contain"},
		{obj{"password": "NoSpecial1"}, "Password should contain"},
		{obj{"role": "root"}, "no such role"},
		{obj{"username": "analyst"}, "already exists"},
		{obj{"email": "admin@example.com"}, "already exists"},
	} {
		r.refused("POST", "/users", with(tt.more), tt.text)
	}
	if got := r.code("POST", "/users", with(obj{"email": "nobody"}), http.StatusBadRequest); got != `{"message":{"email":"email"}}` {
		t.Errorf("bad address: %s", got)
	}
	if got := r.code("POST", "/users", obj{"username": "mia.maker"}, http.StatusBadRequest); !strings.Contains(got, `"first_name"`) {
		t.Errorf("missing arguments: %s", got)
	}
	if n := len(r.s.users); n != 2 {
		t.Errorf("%d users after refusals", n)
	}
	r.data("POST", "/users", with(obj{"username": " mia.maker "}))
	out := r.call("POST", "/login", obj{"username": "mia@example.org", "password": strong})
	if out["reset_password"] != true || out["auth_type"] != "password" || out["first_name"] != "Mia" {
		t.Errorf("first login: %v", out)
	}
}

func TestUserList(t *testing.T) {
	r := newRig(t, Options{})
	for i := range 4 {
		r.addUser(fmt.Sprintf("user%d", 9-i))
	}
	r.data("PUT", "/users/user/3", obj{"status": false})
	names := func(query string) string {
		data := r.data("GET", "/users?"+query, nil).(obj)
		list := []string{fmt.Sprint(data["count"], "/", data["total_count"])}
		for _, row := range data["results"].([]any) {
			list = append(list, row.(obj)["username"].(string))
		}
		return strings.Join(list, " ")
	}
	for query, want := range map[string]string{
		"": "6/6 admin analyst user9 user8 user7 user6",
		"order_by=asc&column=username&start=1&limit=2": "6/6 analyst user6",
		"order_by=DESC&limit=1":                        "6/6 user9",
		"limit=0":                                      "6/6 admin analyst user9 user8 user7 user6",
		"status=false":                                 "1/6 user9",
		"role=admin":                                   "1/6 admin",
		"searchterm=EXAMPLE.ORG&limit=1&order_by=asc": "4/6 user6",
		"start=99": "6/6",
	} {
		if got := names(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	r.code("GET", "/users?role=root", nil, http.StatusInternalServerError)
	r.code("GET", "/users?start=-1", nil, http.StatusInternalServerError)
	r.code("GET", "/users?order_by=up", nil, http.StatusBadRequest)
}

func TestDisabledUsersAreOut(t *testing.T) {
	r := newRig(t, Options{})
	admin := r.token
	r.login("analyst")
	analyst := r.token
	r.token = admin
	r.data("PUT", "/users/user/2", obj{"status": false})
	r.refused("POST", "/login", obj{"username": "analyst", "password": "admin"}, "wrong")
	r.token = analyst
	if got := r.code("GET", "/hosts/count", nil, http.StatusUnauthorized); !strings.Contains(got, tokenExpired) {
		t.Error(got)
	}
	r.token = admin
	r.data("PUT", "/users/user/2", obj{"status": true})
	r.token = analyst
	r.code("GET", "/hosts/count", nil, http.StatusOK)
}

func TestOwnAccount(t *testing.T) {
	r := newRig(t, Options{})
	r.refused("PUT", "/users/me", obj{"role": "analyst"}, "change role or deactivate self")
	r.refused("PUT", "/users/user/1", obj{"status": false}, "change role or deactivate self")
	r.data("PUT", "/users/me", obj{"role": "admin", "status": true, "email": "root@example.org"})
	if me := r.data("GET", "/users/user/0", nil).(obj); me["email"] != "root@example.org" || me["id"] != 1. {
		t.Errorf("id 0: %v", me)
	}
	r.refused("PUT", "/users/me", obj{"new_user_name": "analyst"}, "used already")
	r.refused("PUT", "/users/user/2", obj{"email": "root@example.org"}, "used already")
	r.refused("GET", "/users/user/9", nil, "Could not find")
	r.login("analyst")
	r.data("PUT", "/users/me", obj{"role": "admin", "email": "x@example.org", "last_name": "Lyst"})
	if me := r.data("GET", "/users/me", nil).(obj); me["email"] != "analyst@example.com" || me["last_name"] != "Lyst" ||
		fmt.Sprint(me["roles"]) != "[analyst]" {
		t.Errorf("analyst: %v", me)
	}
}

func TestAssignRole(t *testing.T) {
	r := newRig(t, Options{})
	r.addUser("first")
	r.addUser("second")
	r.refused("PUT", "/users", obj{"username": "first,second", "role": "admin"}, "At least one correct user")
	r.refused("PUT", "/users", obj{"username": []string{"admin"}, "role": "analyst"}, "At least one correct user")
	r.refused("PUT", "/users", obj{"username": []string{"first"}, "role": "root"}, "no such role")
	r.data("PUT", "/users", obj{"username": []string{"first", "second", "nobody"}, "role": "admin"})
	if r.s.users[2].role != roleAdmin || r.s.users[3].role != roleAdmin || r.s.users[0].role != roleAdmin {
		t.Error("roles were not assigned")
	}
}

func TestPasswordsEndSessions(t *testing.T) {
	r := newRig(t, Options{})
	admin := r.token
	r.login("analyst")
	analyst := r.token
	change := func(old, fresh, again string) obj {
		return obj{"old_password": old, "new_password": fresh, "confirm_new_password": again}
	}
	for _, path := range []string{"/management/changepw", "/users/me/password"} {
		method := map[bool]string{true: "POST", false: "PUT"}[strings.HasPrefix(path, "/management")]
		r.refused(method, path, change("wrong", strong, strong), "Old password")
		r.refused(method, path, change("admin", strong, strong+"x"), "not matching")
		r.refused(method, path, change("admin", "admin", "admin"), "Password should contain")
	}
	r.data("PUT", "/users/me/password", change("admin", strong, strong))
	r.code("GET", "/users/me", nil, http.StatusUnauthorized)
	r.token = admin
	r.code("GET", "/users/me", nil, http.StatusOK)
	r.data("PUT", "/users/user/2/password", obj{"new_password": strong + "2"})
	r.refused("PUT", "/users/user/9/password", obj{"new_password": strong}, "No user exists")
	r.token = analyst
	r.code("GET", "/users/me", nil, http.StatusUnauthorized)
	if out := r.call("POST", "/login", obj{"username": "analyst", "password": strong + "2"}); out["reset_password"] != true {
		t.Errorf("login after the reset: %v", out)
	}
	r.token = admin
	r.refused("POST", "/management/verifypw", obj{"password": strong}, "not matching")
	r.data("POST", "/management/verifypw", obj{"password": "admin"})
}

func TestActivityLog(t *testing.T) {
	r := newRig(t, Options{})
	id := r.s.Raise(AlertSpec{})
	r.addUser("first")
	r.clock.add(time.Second)
	r.login("analyst")
	r.data("PUT", "/alerts", obj{"resolve": true, "verdict": true, "alert_ids": []int64{id, 99}})
	r.login("admin")
	r.refused("PUT", "/management/settings", obj{"purge_data_duration": "0"}, "greater than 0")
	r.data("POST", "/hosts/1/tags", obj{"tag": "crown-jewels"})
	rows := func(query string) string {
		data := r.data("GET", "/users/platform_activity?"+query, nil).(obj)
		list := []string{fmt.Sprint(data["count"], "/", data["total_count"])}
		for _, row := range data["results"].([]any) {
			o := row.(obj)
			what := o["item"].(obj)
			list = append(list, fmt.Sprint(o["user"].(obj)["username"], " ", o["action"], " ", what["type"], " ", what["name"]))
		}
		return strings.Join(list, "; ")
	}
	for query, want := range map[string]string{
		"limit=2":           "4/4; admin created Tag crown-jewels; analyst updated Alerts <nil>",
		"user_id=1":         "2/4; admin created Tag crown-jewels; admin created User first",
		"searchterm=JEWELS": "1/4; admin created Tag crown-jewels",
		"start=3":           "4/4; admin created User first",
	} {
		if got := rows(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	r.code("GET", "/users/platform_activity?limit=-1", nil, http.StatusInternalServerError)
}

func TestRecordedCallsAreInTheCatalogue(t *testing.T) {
	for id, what := range recorded {
		c := catalogue.Find(id)
		switch {
		case c == nil:
			t.Errorf("%s is no call", id)
		case what.ids == inPath && strings.Count(c.Path, "{") != 1,
			what.ids != inPath && what.ids != "" && c.Param(what.ids) == nil,
			what.name != "" && c.Param(what.name) == nil:
			t.Errorf("%s has no such arguments: %+v", id, what)
		}
	}
}

func TestActivityOfDeletion(t *testing.T) {
	r := newRig(t, Options{})
	r.data("POST", "/tags/add", obj{"tag": "short-lived"})
	r.data("POST", "/tags/delete", obj{"tag": "short-lived"})
	row := r.data("GET", "/users/platform_activity?limit=1", nil).(obj)["results"].([]any)[0].(obj)
	if row["action"] != "deleted" || row["text"] != "Tag with id 'short-lived' has been deleted" || len(row["item"].(obj)) != 0 {
		t.Errorf("%v", row)
	}
}

func TestActivityLogIsBounded(t *testing.T) {
	s := newServer(t, Options{})
	for range maxActivities + 1 {
		s.record(s.users[0], "updated", item{"Settings", 1, "x"})
	}
	log := s.account.activities
	if len(log) != maxActivities/2+1 || log[len(log)-1].id != maxActivities+1 {
		t.Errorf("%d rows, the last is %d", len(log), log[len(log)-1].id)
	}
}

func TestSingleSignOn(t *testing.T) {
	r := newRig(t, Options{})
	page := func(w string) string { return strings.Join(strings.Fields(w), " ") }
	if got := page(r.code("GET", "/sso/login", nil, http.StatusOK)); !strings.Contains(got, "not enabled") {
		t.Error(got)
	}
	r.data("PUT", "/management/settings", obj{"purge_data_duration": "7", "sso_enable": "true"})
	if got := page(r.code("GET", "/sso/login", nil, http.StatusOK)); !strings.Contains(got, "SAML Configuration is empty") {
		t.Error(got)
	}
	r.data("PUT", "/management/settings", obj{"sso_configuration": obj{"idp_metadata_url": "https://idp.example/meta", "app_name": "er", "entity_id": "urn:er"}})
	w := r.send("GET", "/sso/login", nil)
	if w.Code != http.StatusFound || !strings.HasPrefix(w.Header().Get("Location"), "https://idp.example/sso/saml?SAMLRequest=") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	callback := func(said string) string {
		return page(r.code("POST", "/sso/callback", obj{"SAMLResponse": said, "RelayState": "https://x/'</script>"}, http.StatusOK))
	}
	for said, want := range map[string]string{
		"":                       "not matching with the app",
		"bm9uc2Vuc2U=":           "not matching with the app",
		r.s.Assertion("nobody"):  "No user found",
		r.s.Assertion("analyst"): "not been assigned to use SSO",
	} {
		if got := callback(said); !strings.Contains(got, want) {
			t.Errorf("%q: %s", said, got)
		}
	}
	old := r.s.Assertion("analyst")
	r.data("PUT", "/users/user/2", obj{"enable_sso": true})
	got := callback(old)
	_, rest, _ := strings.Cut(got, "setItem('token', '")
	token, _, found := strings.Cut(rest, "'")
	if !found || strings.Count(got, "</script>") != 1 {
		t.Fatalf("page: %s", got)
	}
	admin := r.token
	r.token = token
	if me := r.data("GET", "/users/me", nil).(obj); me["username"] != "analyst" {
		t.Errorf("signed on as %v", me)
	}
	r.token = admin
	r.data("PUT", "/management/settings", obj{"sso_configuration": obj{"idp_metadata_url": "https://idp.example/meta", "app_name": "er", "entity_id": "urn:other"}})
	if got := callback(old); !strings.Contains(got, "not matching with the app") {
		t.Errorf("said for another server: %s", got)
	}
}
