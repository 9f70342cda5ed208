package connector

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// pinOf is the fingerprint of a test server's certificate.
func pinOf(server *httptest.Server) string {
	sum := sha256.Sum256(server.Certificate().Raw)
	return hex.EncodeToString(sum[:])
}

// withLogin answers login below /api, and everything else by handle.
func withLogin(handle http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/login", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, `{"token": "t"}`)
	})
	mux.HandleFunc("/", handle)
	return mux
}

// newServer starts a server that answers login, and everything else by handle.
func newServer(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(withLogin(handle))
	t.Cleanup(server.Close)
	return server
}

func answerJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// newClient makes a client of a server with the API below /api.
func newClient(t *testing.T, url string, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{URL: url, BasePath: "/api", Username: "soc", Password: soar.SecretValue("s3cret"), Retries: -1}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
