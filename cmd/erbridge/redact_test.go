package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/catalogue"
)

func TestRedact(t *testing.T) {
	r := newRedactor(&catalogue.Call{Secrets: []string{"key", "pass"}}, []string{"hunter2hunter2", "abc"})
	for _, tt := range []struct{ name, in, want string }{
		{"by key", `{"password":"x","user":"y"}`, `{"password":"[redacted]","user":"y"}`},
		{"by key of the call", `{"data":{"virustotal":{"key":"x"},"ibmxforce":{"key":"y","pass":"z"}}}`,
			`{"data":{"virustotal":{"key":"[redacted]"},"ibmxforce":{"key":"[redacted]","pass":"[redacted]"}}}`},
		{"deep in lists", `[[{"a":[{"node_key":"x"}]}]]`, `[[{"a":[{"node_key":"[redacted]"}]}]]`},
		{"all below a key", `{"token":{"a":["x",1,{"b":"y"}],"c":null}}`, `{"token":{"a":["[redacted]","[redacted]",{"b":"[redacted]"}],"c":null}}`},
		{"what is not set", `{"password":"","token":null,"reset_password":false}`, `{"password":"","token":null,"reset_password":false}`},
		{"a number", `{"api_key":123456789012345678901}`, `{"api_key":"[redacted]"}`},
		{"order and digits", `{"z":1.50,"a":12345678901234567890,"m":1e3}`, `{"z":1.50,"a":12345678901234567890,"m":1e3}`},
		{"JSON in a text", `{"config":"{\"smtpPassword\": \"x\", \"n\": 1}"}`, `{"config":"{\"smtpPassword\":\"[redacted]\",\"n\":1}"}`},
		{"harmless JSON in a text stays", `{"config":"{ \"n\": 1 }"}`, `{"config":"{ \"n\": 1 }"}`},
		{"JSON in JSON in a text", `{"a":"\"{\\\"password\\\":\\\"hunter2\\\"}\""}`, `{"a":"\"{\\\"password\\\":\\\"[redacted]\\\"}\""}`},
		{"a piece of JSON in a text", `{"log":"got {\"user\":\"x\",\"smtp_password\": \"hunter2\"} at 7"}`, `{"log":"got {\"user\":\"x\",\"smtp_password\": \"[redacted]\"} at 7"}`},
		{"a web token in a text", `{"log":"Bearer eyJhbGciOiJIUzI1NiJ9.eyJpZCI6MX0.c2ln came"}`, `{"log":"Bearer [redacted] came"}`},
		{"several secrets by key", `{"apiKeys":["x","y"],"node-keys":{"a":"z"},"access":"w"}`, `{"apiKeys":["[redacted]","[redacted]"],"node-keys":{"a":"[redacted]"},"access":"w"}`},
		{"a command line stays", `{"cmdline":"net use z: /user:x password=y"}`, `{"cmdline":"net use z: /user:x password=y"}`},
		{"a value that was given", `{"message":"user hunter2hunter2 is weak"}`, `{"message":"user [redacted] is weak"}`},
		{"a short value is no secret", `{"message":"abc"}`, `{"message":"abc"}`},
		{"no escapes for HTML", `{"a":"<b>&"}`, `{"a":"<b>&"}`},
		{"not a JSON text, as with NaN", `{"a":NaN,"password":"x","b":1}`, `{"a":NaN,"password":[redacted],"b":1}`},
		{"cut short", `{"password":"hun`, `{"password":[redacted]`},
		{"alone", `"x"`, `"x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(r.json([]byte(tt.in))); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			var shown *redactor
			if got := string(shown.json([]byte(tt.in))); got != tt.in {
				t.Errorf("with --show-secrets: %s", got)
			}
		})
	}
}

func TestRedactErrors(t *testing.T) {
	r := newRedactor(nil, []string{"hunter2hunter2"})
	token := "eyJhbGciOiJIUzUxMiJ9.eyJpZCI6MX0.c2lnbmF0dXJl"
	err := r.err(fmt.Errorf("mail: %w: hunter2hunter2 was refused with %s", connector.ErrRefused, token))
	if text := err.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, "eyJ") || !strings.Contains(text, "mail: refused by the server: [redacted] was refused") {
		t.Errorf("error %s", text)
	}
	if !errors.Is(err, connector.ErrRefused) {
		t.Error("the meaning is lost")
	}
	plain := errors.New("nothing secret")
	if got := r.err(plain); got != plain { //nolint:errorlint // the very same
		t.Errorf("got %v", got)
	}
}

func FuzzRedact(f *testing.F) {
	for _, seed := range []string{`{"password":"x"}`, `[1,{"token":[{"a":"b"}]}]`, `{"a":"{\"secret\":\"x\"}"}`, `"`, "{", `{"a":NaN}`} {
		f.Add([]byte(seed))
	}
	r := newRedactor(nil, []string{"hunter2hunter2"})
	f.Fuzz(func(t *testing.T, in []byte) {
		once := r.json(in)
		if bytes.Contains(once, []byte("hunter2hunter2")) {
			t.Errorf("%q became %q", in, once)
		}
	})
}

// Lines that come in pieces are cleaned as a whole.
func TestTerminalWriter(t *testing.T) {
	var out bytes.Buffer
	w := &terminalWriter{w: &out}
	for _, piece := range []string{"a\x1b[", "2Jb\r\nä", "\xc2", "\x9bc"} {
		if _, err := w.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	if want := "a\\x1b[2Jb\nä\\x9bc\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	out.Reset()
	long := strings.Repeat("ä", 70<<10)
	if _, err := w.Write([]byte(long)); err != nil {
		t.Fatal(err)
	}
	if err := w.flush(); err != nil || strings.TrimSuffix(out.String(), "\n") != long {
		t.Errorf("a long line of %d bytes became %d, %v", len(long), out.Len(), err)
	}
}
