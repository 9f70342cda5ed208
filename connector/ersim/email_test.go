package ersim

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
)

// get fetches a path of the server's root, without a token.
func get(r *rig, path string) *httptest.ResponseRecorder {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.s.ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, path, nil))
	return w
}

func TestMailSettings(t *testing.T) {
	mail := obj{
		"email": "er@example.com", "smtpPort": "465", "smtpAddress": "smtp.example.com", "password": "geheim", "emailRecipients": "a@example.com,b@example.com",
	}
	with := func(name string, v any) obj {
		changed := maps.Clone(mail)
		changed[name] = v
		return changed
	}
	for _, profile := range []string{"4.0", "2.1.2"} {
		t.Run(profile, func(t *testing.T) {
			r := newRig(t, Options{Profile: profile})
			if out := r.call("GET", "/email/configure", nil); out["status"] != "success" || len(fmt.Sprint(out["data"])) > len("map[]") {
				t.Errorf("before: %v", out)
			}
			for _, path := range []string{"/email/test", "/email/configure"} {
				for _, bad := range []obj{
					with("smtpAddress", "smtp.invalid"), with("emailRecipients", "nobody"), with("emailRecipients", ""), with("smtpPort", 0), with("email", "x"),
				} {
					r.refused("POST", path, bad, "smtp settings")
				}
				r.code("POST", path, with("smtpPort", "smtp"), http.StatusInternalServerError)
				r.code("POST", path, with("password", nil), http.StatusBadRequest)
			}
			if n := len(r.s.Mails()); n != 0 {
				t.Errorf("%d mails after refusals", n)
			}
			data := r.data("POST", "/email/configure", mail).(obj)
			if data["password"] != "Z2VoZWlt\n" {
				t.Errorf("stored: %v", data)
			}
			data = r.data("GET", "/email/configure", nil).(obj)
			if data["password"] != "geheim" || data["smtpPort"] != 465. || fmt.Sprint(data["emailRecipients"]) != "[a@example.com b@example.com]" {
				t.Errorf("settings: %v", data)
			}
			if _, has := data["use_ssl"]; has != (profile == "4.0") {
				t.Errorf("use_ssl on %s: %v", profile, has)
			}
			if n := len(r.s.Mails()); n != 1 {
				t.Errorf("%d mails", n)
			}
		})
	}
}
