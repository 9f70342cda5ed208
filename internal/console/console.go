// Package console serves what operators look at: metrics, health, readiness.
package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Readiness is what /readyz answers.
type Readiness struct {
	// Ready is true when alerts are taken in and worked on.
	Ready bool `json:"ready"`
	// Version is the program's version.
	Version string `json:"version"`
	// Missing names each part that is not ready, and why.
	Missing map[string]string `json:"missing,omitempty"`
	// Warnings name parts that need a person although work goes on, such as a
	// paused sink.
	Warnings map[string]string `json:"warnings,omitempty"`
}

// Options are what a console needs.
type Options struct {
	// Listen is the address, as host:port.
	Listen string
	// Gatherer has the metrics.
	Gatherer prometheus.Gatherer
	// Ready tells how things stand; it is called for every request.
	Ready func(ctx context.Context) Readiness
	Log   *slog.Logger
}

// Console is the HTTP listener.
type Console struct {
	o Options

	mu       sync.Mutex
	listener net.Listener
}

// New makes a console; Run starts it.
func New(o Options) (*Console, error) {
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return nil, fmt.Errorf("console: address %q: %w", o.Listen, err)
	}
	if o.Gatherer == nil || o.Ready == nil {
		return nil, errors.New("console: metrics and readiness are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Console{o: o}, nil
}

// Listen opens the port and returns its address. Run does it when it was not
// done before.
func (c *Console) Listen(ctx context.Context) (net.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener == nil {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.o.Listen)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		c.listener = l
	}
	return c.listener.Addr(), nil
}

// Run serves until ctx ends; requests under way may finish within 5 s.
func (c *Console) Run(ctx context.Context) error {
	addr, err := c.Listen(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: c.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(c.o.Log.Handler(), slog.LevelDebug),
	}
	c.o.Log.Info("console is open", "address", addr.String())
	ended := make(chan error, 1) // the one result of Serve
	go func() { ended <- server.Serve(c.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("console: %w", err)
	case <-ctx.Done():
	}
	// ctx has ended and the requests under way have not.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = server.Shutdown(drain)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Handler serves /metrics, /healthz and /readyz. /healthz says that the process
// answers; /readyz says with 503 and names what is missing when alerts would not
// be worked on.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.o.Gatherer, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(c.o.Log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
		Timeout:             30 * time.Second,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // the caller has gone away; nothing to do
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ready := c.o.Ready(r.Context())
		data, err := json.MarshalIndent(ready, "", "  ")
		if err != nil {
			http.Error(w, "cannot say", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !ready.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(append(data, '\n')) // the caller has gone away; nothing to do
	})
	return mux
}
