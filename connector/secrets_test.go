package connector

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

const hidden = "hunter2-hunter2"

// TestSecretsDoNotPrint prints everything that holds a secret.
func TestSecretsDoNotPrint(t *testing.T) {
	secret := soar.SecretValue(hidden)
	client := newClient(t, "http://127.0.0.1:1", func(o *Options) { o.Password = secret })
	client.session.token.text = hidden
	email := EmailSettings{From: "a@b.c", Password: secret}
	keys := APIKeys{secret, secret, secret, secret}
	for _, v := range []any{
		client, Options{Password: secret}, email, &email, keys, KeysUpdate{Keys: keys}, PasswordChange{secret, secret},
		NewUser{Password: secret}, map[string]any{"password": revealed(hidden)}, []any{revealed(hidden)},
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
				t.Errorf("%s of %T prints it: %s", format, v, text)
			}
		}
	}
	for _, v := range []any{client, Options{Password: secret}, email, keys, KeysUpdate{Keys: keys}, PasswordChange{secret, secret}, NewUser{Password: secret}} {
		if text, err := json.Marshal(v); err == nil && strings.Contains(string(text), "hunter2") {
			t.Errorf("JSON of %T holds it: %s", v, text)
		}
	}
}

// TestSecretsThatTheServerRepeats makes calls that carry a secret to a server that
// says it again, as its checks of arguments and those of the feeds do.
func TestSecretsThatTheServerRepeats(t *testing.T) {
	secret := soar.SecretValue(hidden)
	email := EmailSettings{From: "a@b.c", Server: "m", Port: 25, Password: secret, To: []string{"a@b.c"}}
	keys := APIKeys{VirusTotal: secret, XForceKey: secret, XForcePass: secret}
	second := func(_ any, err error) error { return err }
	for _, answer := range []struct {
		status int
		body   string
	}{
		{200, `{"status":"failure","message":"no: %s"}`},
		{200, `{"status":"failure","message":"no","errors":{"virustotal":"bad key %s","ibmxforce":"%[1]s"},"data":{}}`},
		{400, `{"errors":{"password":"'%s' is too short"},"message":"Input payload validation failed"}`},
		{400, `{"message":{"new_password":"%s?","%[1]s":"odd"}}`},
		{500, `%s`},
	} {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /api/login", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, `{"token":"t"}`) })
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if answer.status == 500 {
				w.Header().Set("Content-Type", "text/plain")
			} else {
				w.Header().Set("Content-Type", "application/json")
			}
			w.WriteHeader(answer.status)
			_, _ = fmt.Fprintf(w, answer.body, hidden)
		})
		server := newServer(t, mux.ServeHTTP)
		c, ctx := newClient(t, server.URL), t.Context()
		update, err := c.Management.UpdateAPIKeys(ctx, keys)
		_, verify := c.Management.VerifyPassword(ctx, secret)
		for name, err := range map[string]error{
			"keys": err, "verify": verify, "keys v0": second(c.V0.SetAPIKeys(ctx, keys)), "e-mail": c.Email.Update(ctx, email),
			"test":        c.Email.Test(ctx, email),
			"change":      c.Management.ChangePassword(ctx, PasswordChange{Old: secret, New: secret}),
			"reset":       c.Users.ResetPassword(ctx, 1, secret),
			"create user": c.Users.Create(ctx, NewUser{Username: "u", FirstName: "f", Email: "a@b.c", Role: RoleAdmin, Password: secret}),
			"login v0":    second(c.V0.Login(ctx, "u", secret)),
		} {
			fault, _ := errors.AsType[*APIError](err)
			if text := fmt.Sprintf("%v %+v", err, fault); strings.Contains(text, "hunter2") {
				t.Errorf("%s, HTTP %d: %s", name, answer.status, text)
			}
		}
		if text := fmt.Sprintf("%+v", update); strings.Contains(text, "hunter2") {
			t.Errorf("keys: %s", text)
		}
		password := newClient(t, loginThatRepeats(t, answer.status, answer.body), func(o *Options) { o.Password = secret })
		if err := password.Login(ctx); err == nil || strings.Contains(fmt.Sprintf("%+v", err), "hunter2") {
			t.Errorf("login: %v", err)
		}
	}
}

func loginThatRepeats(t *testing.T, status int, body string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/login", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, status, fmt.Sprintf(body, hidden))
	})
	server := newServer(t, func(http.ResponseWriter, *http.Request) {})
	server.Config.Handler = mux
	return server.URL
}

// TestMalformedRowsHideSecrets reads hosts that lack what a host must have and yet have
// the key of their agent.
func TestMalformedRowsHideSecrets(t *testing.T) {
	row := `[{"node_key":"` + hidden + `","hostname":"a","big":12345678901234567890}]`
	for _, data := range []string{row, `{"results":` + row + `}`} {
		server := newServer(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, dataAnswer(data)) })
		page, err := newClient(t, server.URL).Hosts.Page(t.Context(), HostQuery{})
		if err != nil || len(page.Malformed) != 1 {
			t.Fatalf("got %+v, %v", page, err)
		}
		if raw := string(page.Malformed[0].Raw); raw != `{"big":12345678901234567890,"hostname":"a","node_key":"[redacted]"}` {
			t.Errorf("kept %s", raw)
		}
	}
}
