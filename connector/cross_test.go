package connector_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// crossRig is a simulator and a client for one call.
type crossRig struct {
	*testing.T
	sim    *ersim.Server
	client *connector.Client
	calls  *prometheus.Registry
}

// cross makes one call of the catalogue through the client on the simulator and
// checks what comes back.
type cross struct {
	profile string // 4.0 when empty
	user    string // admin when empty
	test    func(r *crossRig)
}

// newCrossRig starts a simulator and a client that has to find its way by itself.
func newCrossRig(t *testing.T, one cross) *crossRig {
	t.Helper()
	profile, user := one.profile, one.user
	if profile == "" {
		profile = "4.0"
	}
	if user == "" {
		user = "admin"
	}
	server, err := ersim.New(ersim.Options{Profile: profile, Seed: 1, Hosts: 6, CommandDelay: time.Millisecond, AggregationWindow: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	stopped := make(chan error, 1)
	go func() { stopped <- server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("simulator: %v", err)
		}
	})
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, server.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := prometheus.NewRegistry()
	api := ""
	if profile == "2.0" {
		api = "v0"
	}
	client, err := connector.New(connector.Options{
		URL: server.URL(), API: api, Username: user, Password: soar.SecretValue("admin"), CAFile: caFile, Timeout: time.Minute, Registerer: calls,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &crossRig{T: t, sim: server, client: client, calls: calls}
}

// made reports whether the client has counted a call under an id.
func (r *crossRig) made(id string) bool {
	families, err := r.calls.Gather()
	if err != nil {
		r.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetValue() == id {
					return true
				}
			}
		}
	}
	return false
}

// ok fails the test on an error.
func (r *crossRig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// is fails the test when got is not want.
func (r *crossRig) is(what string, got, want any) {
	r.Helper()
	if !reflect.DeepEqual(got, want) {
		r.Errorf("%s: got %v, want %v", what, got, want)
	}
}
