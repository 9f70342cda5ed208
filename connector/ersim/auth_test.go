package ersim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTokenExpires(t *testing.T) {
	r := newRig(t, Options{TokenLifetime: time.Hour})
	if w := r.send("GET", "/hosts/count", nil); w.Code != http.StatusOK {
		t.Fatalf("fresh token: %d", w.Code)
	}
	r.clock.add(time.Hour)
	w := r.send("GET", "/hosts/count", nil)
	if want := `{"message":{"message":"This API key used to authenticate is expired!"}}`; w.Code != http.StatusUnauthorized ||
		strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("expired token: %d %s", w.Code, w.Body)
	}
	r.token = "no.such.token"
	w = r.send("GET", "/hosts/count", nil)
	if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), tokenUnknown) {
		t.Errorf("unknown token: %d %s", w.Code, w.Body)
	}
	r.login("admin")
	if w := r.send("GET", "/hosts/count", nil); w.Code != http.StatusOK {
		t.Errorf("after login: %d", w.Code)
	}
}

func TestSecondLoginLeavesFirstTokenValid(t *testing.T) {
	r := newRig(t, Options{})
	first := r.token
	r.login("admin")
	if r.token != first {
		t.Error("two logins within a second gave two texts")
	}
	r.clock.add(time.Second)
	r.login("admin")
	second := r.token
	if second == first {
		t.Fatal("a second later the token is the same")
	}
	if out := r.call("POST", "/logout", obj{}); out["status"] != "success" {
		t.Fatal(out)
	}
	if w := r.send("GET", "/hosts/count", nil); w.Code != http.StatusUnauthorized {
		t.Errorf("after logout: %d", w.Code)
	}
	r.token = first
	for i, want := range []int{http.StatusOK, http.StatusUnauthorized} { // two rows: two logouts
		r.call("POST", "/logout", obj{})
		if w := r.send("GET", "/hosts/count", nil); w.Code != want {
			t.Errorf("after logout %d of the doubled token: %d, want %d", i+1, w.Code, want)
		}
	}
	r.login("admin")
	if w := r.send("GET", "/hosts/count", nil); w.Code != http.StatusOK {
		t.Errorf("login in the second of a revoked token: %d", w.Code)
	}
}

func TestTokenHoldsItsTimesInTheHeader(t *testing.T) {
	r := newRig(t, Options{TokenLifetime: time.Hour})
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(r.token, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ Iat, Exp int64 }
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	if header.Exp-header.Iat != 3600 || header.Iat != r.clock.Now().Unix() {
		t.Errorf("header %s", raw)
	}
}

func TestLoginAnswers(t *testing.T) {
	r := newRig(t, Options{})
	out := r.call("POST", "/login", obj{"username": "admin", "password": "wrong"})
	if out["status"] != "failure" || out["message"] != "Username/Password is/are wrong!" {
		t.Error(out)
	}
	out = r.call("POST", "/login", obj{"username": "analyst", "password": "admin"})
	if out["roles"] != "analyst" || out["all_roles"] != "admin,analyst" || out["status"] != nil {
		t.Error(out)
	}
	if w := r.send("POST", "/login", obj{"username": "admin"}); w.Code != http.StatusBadRequest {
		t.Errorf("without a password: %d %s", w.Code, w.Body)
	}
	if w := r.send("GET", "/index", nil); strings.TrimSpace(w.Body.String()) != `{"sso_status":false}` {
		t.Error(w.Body)
	}
}

func TestRoles(t *testing.T) {
	r := newRig(t, Options{})
	id := r.s.Raise(AlertSpec{})
	r.login("analyst")
	for _, tt := range []struct {
		method, path string
		body         obj
		want         int
	}{
		{"POST", "/hosts/1/tags", obj{"tag": "x"}, http.StatusForbidden},
		{"DELETE", "/hosts/1/tags", obj{"tag": "x"}, http.StatusForbidden},
		{"POST", "/carves/delete", obj{"session_id": "X"}, http.StatusForbidden},
		{"PUT", "/alerts", obj{"resolve": true, "verdict": true, "alert_ids": []int64{id}}, http.StatusOK},
		{"PUT", "/alerts", obj{"resolve": false, "alert_ids": []int64{id}}, http.StatusForbidden},
		{"PUT", "/alerts", obj{"alert_ids": []int64{id}}, http.StatusOK}, // reopens, unchecked
		{"POST", "/distributed/add", obj{"query": "select 1", "nodes": r.s.Hosts()[0].Identifier}, http.StatusOK},
	} {
		w := r.send(tt.method, tt.path, tt.body)
		if w.Code != tt.want {
			t.Errorf("%s %s %v: %d, want %d", tt.method, tt.path, tt.body, w.Code, tt.want)
		}
		if w.Code == http.StatusForbidden && !strings.Contains(w.Body.String(), "Forbidden!") {
			t.Errorf("%s", w.Body)
		}
	}
	if got := r.s.Alerts()[0].Status; got != statusOpen {
		t.Errorf("alert is %s", got)
	}
	old := newRig(t, Options{Profile: "2.1.2"})
	old.login("analyst")
	if out := old.call("POST", "/hosts/1/tags", obj{"tag": "x"}); out["status"] != "success" {
		t.Errorf("release 2.1.2 has no roles: %v", out)
	}
}
