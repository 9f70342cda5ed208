package connector

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestLiveQueryByOSNameOfAnOldServer would run on every host: release 2.1.2 does not
// know the argument, and takes the rest for no target.
func TestLiveQueryByOSNameOfAnOldServer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		index int
		is    error
	}{{"2.1.2", http.StatusNotFound, ErrUnavailable}, {"in trouble", http.StatusBadGateway, ErrNotSent}} {
		t.Run(tt.name, func(t *testing.T) {
			server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasSuffix(r.URL.Path, "/index") {
					t.Errorf("%s was sent", r.URL)
				}
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(tt.index)
			})
			c := newClient(t, server.URL)
			for _, q := range []LiveQuery{{OSNames: []string{"Ubuntu"}}, {OSNames: []string{"Ubuntu"}, Hosts: []string{"H"}}} {
				q.SQL = "select 1;"
				if _, err := c.Queries.Live(t.Context(), q); !errors.Is(err, tt.is) || errors.Is(err, ErrUncertain) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}
