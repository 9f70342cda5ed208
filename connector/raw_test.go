package connector

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/internal/soar"
)

// What an answer by path means does not depend on whether its id was known.
func TestJudge(t *testing.T) {
	c, err := New(Options{URL: "https://er.example.org", Username: "x", Password: soar.SecretValue("y")})
	if err != nil {
		t.Fatal(err)
	}
	const failure, html = `{"status": "failure", "message": "no"}`, "text/html"
	for _, tt := range []struct {
		name, id, method string
		status           int
		kind, body       string
		want             error
	}{
		{"success", "hosts-count", "GET", 200, typeJSON, `{"status": "success"}`, nil},
		{"refusal", "hosts-count", "GET", 200, typeJSON, failure, ErrRefused},
		{"refusal of an unknown call", "", "POST", 200, typeJSON, failure, ErrRefused},
		{"one that is not there", "hosts-get", "GET", 200, typeJSON, failure, ErrNotFound},
		{"page", "hosts-count", "GET", 200, html, "<p>", ErrNotJSON},
		{"page for an unknown call", "", "GET", 200, html, "<p>", ErrNotJSON},
		{"page that is due", "auth-sso-callback", "POST", 200, html, "<p>", nil},
		{"page for a call with an effect", "tags-add", "POST", 200, html, "<p>", ErrUncertain},
		{"nothing", "hosts-count", "GET", 200, "", "", ErrNotJSON},
		{"nothing from an unknown call", "", "POST", 204, "", "", nil},
		{"list", "hosts-count", "GET", 200, typeJSON, "[1]", ErrNotJSON},
		{"list from an unknown call", "", "GET", 200, typeJSON, "[1]", nil},
		{"what claims to be JSON", "", "GET", 200, typeJSON, "\x00\x01", ErrNotJSON},
		{"no status", "hosts-count", "GET", 200, typeJSON, `{"data": 1}`, ErrNotJSON},
		{"no status from an unknown call", "", "GET", 200, typeJSON, `{"data": 1}`, nil},
		{"CSV", "hosts-export-all", "GET", 200, "text/csv", "a,b\n", nil},
		{"redirect", "hosts-count", "GET", 302, "", "", ErrNotJSON},
		{"redirect of an unknown call", "", "GET", 302, "", "", ErrNotJSON},
		{"redirect that is due", "auth-sso-login", "GET", 302, "", "", nil},
		{"no path", "", "GET", 404, html, "<p>", ErrNotFound},
		{"Enterprise", "response-status-all", "GET", 404, html, "<p>", ErrUnavailable},
		{"given up", "options-get", "GET", 410, typeJSON, `{"message": "gone"}`, ErrUnavailable},
		{"role", "hosts-count", "GET", 403, typeJSON, failure, ErrForbidden},
		{"crash", "hosts-count", "GET", 500, typeJSON, "{}", errServer},
		{"crash of a call with an effect", "", "POST", 500, typeJSON, "{}", ErrUncertain},
		{"crash of a POST that reads", "hosts-list", "POST", 500, typeJSON, "{}", errServer},
		{"turned away", "", "POST", 429, typeJSON, "{}", ErrNotSent},
		{"head alone", "hosts-count", "HEAD", 200, typeJSON, "", nil},
	} {
		err := c.Judge(catalogue.Find(tt.id), tt.method, "/x", RawAnswer{Status: tt.status, ContentType: tt.kind, Body: []byte(tt.body)})
		if tt.want == nil && err != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// An Enterprise server of release 4.0 is not told that it would have to be one.
func TestUnavailableNamesReleases(t *testing.T) {
	for id, want := range map[string]string{
		"response-status-all": "not available on this server (Enterprise only)",
		"v0-response":         "not available on this server (Enterprise only, 2.0 to 3.5)",
		"v0-nodes":            "not available on this server (releases: 2.0 to 3.5)",
		"v0-configs-get":      "not available on this server (releases: 2.0 alone)",
		"auth-index":          "not available on this server (releases: since 3.5)",
	} {
		if got := (unavailable{callOf(catalogue.Find(id))}).Error(); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

// A file that a proxy compressed on the way is not taken for the file itself.
func TestDownloadInACoding(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/login") {
			w.Header().Set("Content-Type", typeJSON)
			_, _ = io.WriteString(w, `{"token": "x"}`)
			return
		}
		w.Header().Set("Content-Type", "text/csv")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "\x1f\x8b")
	}))
	t.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL, BasePath: "/api/v1", Username: "x", Password: soar.SecretValue("y"), Transport: server.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	inv, err := NewInvocation(catalogue.Find("hosts-export-all"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := c.Invoke(t.Context(), inv, &got); !errors.Is(err, ErrNotJSON) || !strings.Contains(err.Error(), `coding "gzip"`) || got.Len() > 0 {
		t.Errorf("error %v, %d bytes", err, got.Len())
	}
}
