package connector_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
)

// oddServer answers calls with what stands in answers, by method and path below the
// base, and keeps what was sent.
type oddServer struct {
	*connector.Client
	answers map[string]oddAnswer

	mu   sync.Mutex
	sent []oddCall
}

// oddAnswer is JSON unless a kind says otherwise.
type oddAnswer struct {
	body, kind string
	status     int
	location   string
}

type oddCall struct {
	call string // as in GET /users
	body map[string]any
	form url.Values
}

func newOddServer(t *testing.T, answers map[string]oddAnswer) *oddServer {
	t.Helper()
	s := &oddServer{answers: answers}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := connector.New(connector.Options{
		URL: server.URL, BasePath: "/api", Username: "admin", Password: soar.SecretValue("old password"), Retries: -1, Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Client = client
	return s
}

func (s *oddServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api")
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	one := oddCall{call: call}
	if json.Unmarshal(raw, &one.body) != nil {
		one.form, _ = url.ParseQuery(string(raw))
	}
	if r.Method == http.MethodGet {
		one.form = r.URL.Query()
	}
	s.mu.Lock()
	s.sent = append(s.sent, one)
	s.mu.Unlock()
	a, ok := s.answers[call]
	switch {
	case call == "POST /login":
		a = oddAnswer{body: `{"token": "t"}`}
	case !ok:
		a = oddAnswer{status: http.StatusNotImplemented, kind: "text/plain", body: call}
	}
	if a.kind == "" {
		a.kind = "application/json"
	}
	if a.location != "" {
		w.Header().Set("Location", a.location)
	}
	w.Header().Set("Content-Type", a.kind)
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = io.WriteString(w, a.body) // the client is gone: nobody is left to tell
}

// last is the last call of a name.
func (s *oddServer) last(t *testing.T, call string) oddCall {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.sent) - 1; i >= 0; i-- {
		if s.sent[i].call == call {
			return s.sent[i]
		}
	}
	t.Fatalf("%s was not sent", call)
	return oddCall{}
}

func (s *oddServer) count(call string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sent {
		if one.call == call {
			n++
		}
	}
	return n
}

const done = `{"status": "success", "message": "done", "data": null}`

func TestUsersOddAnswers(t *testing.T) {
	s := newOddServer(t, map[string]oddAnswer{
		"GET /users": {body: `{"status":"success","data":{"count":"3","total_count":3,"results":[
			{"id":"7","username":"a","status":null,"roles":null},
			{"username":"no id"}, null,
			{"id":8,"username":5,"email":null,"status":"true","enable_sso":1,"roles":["admin","owner"],"new":{}}]}}`},
		"GET /users/user/7": {body: `{"status":"success","data":{}}`},
		"GET /users/me":     {body: `{"status":"success"}`},
		"GET /users/platform_activity": {body: `{"status":"Success","data":{"results":[
			{"id":1,"action":"deleted","text":"gone","user":null,"created_at":"2026-11-22 03:22:30.754074","item":{}},
			{"action":"created"},
			{"id":2,"item":{"type":"Rule","id":"4","name":null},"user":{"id":1,"username":"admin"},"created_at":null}]}}`},
	})
	page, err := s.Users.Page(t.Context(), connector.UserQuery{})
	if err != nil || len(page.Results) != 2 || len(page.Malformed) != 2 || page.Count != 3 {
		t.Fatalf("users: %+v %v", page, err)
	}
	if u := page.Results[0]; u.ID != 7 || u.Active || u.IsAdmin() {
		t.Errorf("first: %+v", u)
	}
	if u := page.Results[1]; u.Username != "5" || !u.Active || !u.SSO || !u.IsAdmin() || len(u.Roles) != 2 {
		t.Errorf("second: %+v", u)
	}
	if _, err := s.Users.Get(t.Context(), 7); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("empty user: %v", err)
	}
	if _, err := s.Users.Me(t.Context()); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("no user: %v", err)
	}
	log, err := s.Users.ActivityPage(t.Context(), connector.PlatformActivityQuery{})
	if err != nil || len(log.Results) != 2 || len(log.Malformed) != 1 {
		t.Fatalf("activity: %+v %v", log, err)
	}
	if a := log.Results[0]; a.At.Nanosecond() != 754074000 || a.ItemType != "" || a.Text != "gone" {
		t.Errorf("first: %+v", a)
	}
	if a := log.Results[1]; !a.At.IsZero() || a.ItemID != 4 || a.ItemName != "" {
		t.Errorf("second: %+v", a)
	}
}

// TestUpdateUserKeepsTheRest sends the whole account, because a server may take
// what is left out for false.
func TestUpdateUserKeepsTheRest(t *testing.T) {
	s := newOddServer(t, map[string]oddAnswer{
		"GET /users/user/7": {body: `{"status":"success","data":{"id":7,"username":"a","first_name":"A","last_name":"B","email":"a@b.cd","status":true,"enable_sso":true,"roles":["analyst"]}}`},
		"PUT /users/user/7": {body: done},
		"GET /users/me":     {body: `{"status":"success","data":{"id":8,"username":"b","email":"","status":true,"roles":["admin"]}}`},
		"PUT /users/me":     {body: done},
	})
	if err := s.Users.Update(t.Context(), 7, connector.UserChange{LastName: new("")}); err != nil {
		t.Fatal(err)
	}
	want := `{"email":"a@b.cd","enable_sso":true,"first_name":"A","last_name":"","role":"analyst","status":true}`
	if got, _ := json.Marshal(s.last(t, "PUT /users/user/7").body); string(got) != want {
		t.Errorf("sent %s", got)
	}
	if err := s.Users.UpdateMe(t.Context(), connector.UserChange{Username: "bee", Email: "bee@b.cd"}); err != nil {
		t.Fatal(err)
	}
	want = `{"email":"bee@b.cd","enable_sso":false,"last_name":"","new_user_name":"bee","role":"admin","status":true}`
	if got, _ := json.Marshal(s.last(t, "PUT /users/me").body); string(got) != want {
		t.Errorf("sent %s", got)
	}
}

// TestUpdateOfNobody is not a change that may be tried again.
func TestUpdateOfNobody(t *testing.T) {
	s := newOddServer(t, map[string]oddAnswer{
		"GET /users/user/7": {body: `{"status":"failure","message":"Could not find a user"}`},
		"GET /users/user/8": {status: http.StatusBadGateway, kind: "text/html", body: "<html>"},
	})
	change := connector.UserChange{FirstName: "x"}
	if err := s.Users.Update(t.Context(), 7, change); !errors.Is(err, connector.ErrNotFound) || errors.Is(err, connector.ErrNotSent) {
		t.Errorf("unknown user: %v", err)
	}
	if err := s.Users.Update(t.Context(), 8, change); !errors.Is(err, connector.ErrNotSent) {
		t.Errorf("server in trouble: %v", err)
	}
}

// TestOldServersHaveNoUsers says so without asking.
func TestOldServersHaveNoUsers(t *testing.T) {
	c, err := connector.New(connector.Options{URL: "https://er.invalid", API: "v0", Username: "admin", Password: soar.SecretValue("x"), Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, list := c.Users.Page(ctx, connector.UserQuery{})
	_, keys := c.Management.UpdateAPIKeys(ctx, connector.APIKeys{VirusTotal: soar.SecretValue("x")})
	_, login := c.SSOLogin(ctx)
	_, callback := c.SSOCallback(ctx, soar.SecretValue("x"), "")
	for what, err := range map[string]error{"list": list, "keys": keys, "login": login, "callback": callback} {
		if !errors.Is(err, connector.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestBadArgumentsAreNotSent gives each call what the server would misread or
// crash on.
func TestBadArgumentsAreNotSent(t *testing.T) {
	s := newOddServer(t, nil)
	ctx := t.Context()
	user := func(change func(*connector.NewUser)) error {
		u := maker
		change(&u)
		return s.Users.Create(ctx, u)
	}
	mail := func(change func(*connector.EmailSettings)) error {
		e := mailSettings
		change(&e)
		return s.Email.Update(ctx, e)
	}
	settings := func(c connector.SettingsChange) error { return s.Management.UpdateSettings(ctx, c) }
	keys := func(k connector.APIKeys) error {
		_, err := s.Management.UpdateAPIKeys(ctx, k)
		return err
	}
	only := func(_ any, err error) error { return err }
	for what, err := range map[string]error{
		"user: name":              user(func(u *connector.NewUser) { u.Username = " " }),
		"user: first name":        user(func(u *connector.NewUser) { u.FirstName = "" }),
		"user: address":           user(func(u *connector.NewUser) { u.Email = "mia@example" }),
		"user: address blank":     user(func(u *connector.NewUser) { u.Email = "mia m@example.com" }),
		"user: role":              user(func(u *connector.NewUser) { u.Role = "root" }),
		"user: no role":           user(func(u *connector.NewUser) { u.Role = "" }),
		"user: password":          user(func(u *connector.NewUser) { u.Password = soar.Secret{} }),
		"users: role":             only(s.Users.Page(ctx, connector.UserQuery{Role: "root"})),
		"users: start":            only(s.Users.Page(ctx, connector.UserQuery{Start: -1})),
		"user: id 0":              only(s.Users.Get(ctx, 0)),
		"update: id 0":            s.Users.Update(ctx, 0, connector.UserChange{FirstName: "x"}),
		"update: nothing":         s.Users.Update(ctx, 1, connector.UserChange{}),
		"update: address":         s.Users.Update(ctx, 1, connector.UserChange{Email: "x"}),
		"update me: nothing":      s.Users.UpdateMe(ctx, connector.UserChange{}),
		"update me: role":         s.Users.UpdateMe(ctx, connector.UserChange{Role: "x"}),
		"assign: role":            s.Users.AssignRole(ctx, "root", "a"),
		"reset: id":               s.Users.ResetPassword(ctx, 0, soar.SecretValue("x")),
		"reset: password":         s.Users.ResetPassword(ctx, 1, soar.SecretValue("")),
		"change: password":        s.Users.ChangeMyPassword(ctx, connector.PasswordChange{}),
		"change: environment":     s.Management.ChangePassword(ctx, connector.PasswordChange{New: soar.SecretFromEnv("ERBRIDGE_NO_SUCH_VARIABLE")}),
		"activity: start":         only(s.Users.ActivityPage(ctx, connector.PlatformActivityQuery{Start: -1})),
		"verify: password":        only(s.Management.VerifyPassword(ctx, soar.Secret{})),
		"settings: nothing":       settings(connector.SettingsChange{}),
		"settings: days":          settings(connector.SettingsChange{RetentionDays: -1}),
		"settings: long window":   settings(connector.SettingsChange{AggregationWindow: new(25 * time.Hour)}),
		"settings: odd window":    settings(connector.SettingsChange{AggregationWindow: new(1500 * time.Millisecond)}),
		"settings: no entity":     settings(connector.SettingsChange{SSO: &connector.SSOSettings{MetadataURL: "x", AppName: "y"}}),
		"keys: none":              keys(connector.APIKeys{}),
		"keys: half of a pair":    keys(connector.APIKeys{XForceKey: soar.SecretValue("x")}),
		"keys: empty":             keys(connector.APIKeys{VirusTotal: soar.SecretValue("")}),
		"engines: none":           s.Management.UpdateAVEngines(ctx, connector.AVEngines{}),
		"engines: below 0":        s.Management.UpdateAVEngines(ctx, connector.AVEngines{MinMatches: -1}),
		"level: part":             only(s.Management.LogLevel(ctx, "DB")),
		"level: no part":          only(s.Management.LogLevel(ctx, "")),
		"set level: level":        s.Management.SetLogLevel(ctx, connector.PartER, "debug"),
		"set level: none":         s.Management.SetLogLevel(ctx, connector.PartER, ""),
		"purge: days":             s.Management.Purge(ctx, 0, connector.PurgeOldData),
		"purge: no consent":       s.Management.Purge(ctx, 5, ""),
		"logs: part":              only(s.Management.LogFiles(ctx, "er")),
		"log: path":               only(s.Management.DownloadLog(ctx, connector.PartER, "../x", io.Discard)),
		"mail: sender":            mail(func(e *connector.EmailSettings) { e.From = "er" }),
		"mail: server":            mail(func(e *connector.EmailSettings) { e.Server = "smtp://x" }),
		"mail: port":              mail(func(e *connector.EmailSettings) { e.Port = 70000 }),
		"mail: both encryptions":  mail(func(e *connector.EmailSettings) { e.SSL = true }),
		"mail: nobody":            mail(func(e *connector.EmailSettings) { e.To = nil }),
		"mail: comma":             mail(func(e *connector.EmailSettings) { e.To = []string{"a@b.cd,e@f.gh"} }),
		"mail: no password":       s.Email.Test(ctx, connector.EmailSettings{From: "a@b.cd", Server: "x", Port: 25, To: []string{"a@b.cd"}}),
		"single sign-on: nothing": only(s.SSOCallback(ctx, soar.Secret{}, "")),
	} {
		if !errors.Is(err, connector.ErrInvalid) || errors.Is(err, connector.ErrUncertain) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"assign: nobody":  s.Users.AssignRole(ctx, connector.RoleAdmin),
		"assign: no name": s.Users.AssignRole(ctx, connector.RoleAdmin, "a", ""),
	} {
		if !errors.Is(err, connector.ErrEmptyTarget) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(s.sent) != 0 {
		t.Errorf("sent all the same: %+v", s.sent)
	}
}

// TestPasswordUncertain keeps the session when nobody knows whether the password
// was changed.
func TestPasswordUncertain(t *testing.T) {
	s := newOddServer(t, map[string]oddAnswer{
		"PUT /users/me/password":    {status: http.StatusBadGateway, kind: "text/html", body: "<html>"},
		"POST /management/changepw": {body: done},
		"GET /users/me":             {body: `{"status":"success","data":{"id":1,"username":"admin","roles":["admin"]}}`},
	})
	change := connector.PasswordChange{New: soar.SecretValue("new secret")}
	err := s.Users.ChangeMyPassword(t.Context(), change)
	if !errors.Is(err, connector.ErrUncertain) || strings.Contains(err.Error(), "secret") {
		t.Errorf("change: %v", err)
	}
	want := `{"confirm_new_password":"new secret","new_password":"new secret","old_password":"old password"}`
	if got, _ := json.Marshal(s.last(t, "PUT /users/me/password").body); string(got) != want {
		t.Errorf("sent %s", got)
	}
	for _, logins := range []int{1, 2} {
		if _, err := s.Users.Me(t.Context()); err != nil || s.count("POST /login") != logins {
			t.Errorf("%v after %d logins, want %d", err, s.count("POST /login"), logins)
		}
		if err := s.Management.ChangePassword(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
}
