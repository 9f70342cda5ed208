package modeltest

import (
	"net/http"
	"net/http/httptest"

	"github.com/erbridge/erbridge/connector/ersim"
)

// direct is the way to the server of somebody else, on which nothing is lost.
type direct struct{ sim *ersim.Server }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	if aborted(func() { d.sim.ServeHTTP(rec, req) }) {
		return nil, errCut
	}
	return rec.Result(), nil
}
