package connector

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// An export that is sent twice is two jobs of the server.
func TestStatusLogExportIsSentOnce(t *testing.T) {
	var sent atomic.Int32
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/hosts/status_log/export") {
			sent.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answerJSON(w, http.StatusOK, okWith(`{"id":7,"host_identifier":"H"}`))
	})
	c := newClient(t, server.URL, func(o *Options) { o.Retries = 3 })
	if _, err := c.Hosts.ExportStatusLogs(t.Context(), "H"); !errors.Is(err, ErrUncertain) {
		t.Errorf("got %v", err)
	}
	if n := sent.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
}
