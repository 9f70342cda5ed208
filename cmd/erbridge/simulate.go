package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector/ersim"
)

// simulation are the flags of simulate.
type simulation struct {
	options   ersim.Options
	scenarios []string
	rate      float64
	count     int
	caOut     string
	verbose   bool
}

func newSimulate() *cobra.Command {
	var s simulation
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "run a simulated Endpoint Response server to try erbridge against",
		Long: `simulate runs a stateful simulator of an Endpoint Response server: API with TLS,
websockets, a fleet of hosts whose agents take commands, carves, notes and the
server's own rsyslog push.

It prints one line of JSON with its addresses and serves until it is interrupted.
The control API raises alerts, plays scenarios and injects faults; it has no
authentication and listens on loopback only.`,
		Example: `  erbridge simulate --listen 127.0.0.1:8443 --ca-out sim-ca.pem --scenario ransomware
  erbridge simulate --listen :8443 --profile 4.0 --hosts 500 --alerts-per-second 5
  curl -d '{"scenario": "noise"}' http://127.0.0.1:8444/sim/play`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&s.options.Listen, "listen", "127.0.0.1:8443", "address of the API")
	f.StringVar(&s.options.ControlListen, "control", "127.0.0.1:8444", "address of the control API, on loopback; empty for none")
	f.StringVar(&s.options.Profile, "profile", "4.0", "release to play: 4.0, 4.0-community, 2.1.2 or 2.0 (API v0 only)")
	f.Uint64Var(&s.options.Seed, "seed", 1, "decides names, delays and scenarios")
	f.IntVar(&s.options.Hosts, "hosts", 12, "how many hosts the fleet has")
	f.StringVar(&s.options.Username, "username", "admin", "the administrator's account")
	f.StringVar(&s.options.Password, "password", "admin", "the administrator's password; this is a simulator")
	f.StringVar(&s.options.PushAddress, "push", "", "host:port to which alerts are pushed as lines, as the server's rsyslog alerter does")
	f.BoolVar(&s.options.PushResults, "push-results", false, "push the result row behind each alert as well, as the server does with RSYSLOG_FORWARDING=true")
	f.DurationVar(&s.options.CommandDelay, "command-delay", 0, "about how long an agent takes for a command (default 300ms)")
	f.DurationVar(&s.options.AggregationWindow, "aggregation-window", 0, "how long an alert absorbs further matches; negative for never (default 1m)")
	f.StringSliceVar(&s.scenarios, "scenario", nil, "scenarios to play at the start, one after the other; list shows them")
	f.IntVar(&s.count, "alerts", 0, "how many alerts to raise; 0 with --alerts-per-second goes on until the end")
	f.Float64Var(&s.rate, "alerts-per-second", 0, "how many alerts to raise a second; 0 raises all of --alerts at once")
	f.StringVar(&s.caOut, "ca-out", "", "file to write the certificate of the simulator's authority to, for server.ca_file")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "log every call")
	return cmd
}

func (s *simulation) run(cmd *cobra.Command) (err error) {
	level := slog.LevelInfo
	if s.verbose {
		level = slog.LevelDebug
	}
	s.options.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	if s.count < 0 || s.rate < 0 {
		return usagef("--alerts and --alerts-per-second cannot be negative")
	}
	sim, err := ersim.New(s.options)
	if err != nil {
		return usagef("%v", err)
	}
	if slices.Contains(s.scenarios, "list") {
		return listScenarios(cmd, sim)
	}
	for _, name := range s.scenarios {
		if !slices.Contains(sim.Scenarios(), name) {
			return usagef("--scenario %q: there are %s", name, strings.Join(sim.Scenarios(), ", "))
		}
	}
	if s.caOut != "" {
		if err := os.WriteFile(s.caOut, sim.CAPEM(), 0o644); err != nil {
			return fmt.Errorf("--ca-out: %w", err)
		}
	}
	if err := sim.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	ended := make(chan error, 1) // the one result of Run
	go func() { ended <- sim.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	line, err := json.Marshal(map[string]string{"url": sim.URL(), "control": sim.ControlURL(), "ca_file": s.caOut, "profile": s.options.Profile})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), string(line)); err != nil {
		return err
	}
	for _, name := range s.scenarios {
		if err := sim.Play(ctx, name); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("scenario %s: %w", name, err)
		}
	}
	if s.count == 0 && s.rate > 0 {
		s.count = math.MaxInt
	}
	if s.count > 0 {
		if err := sim.RaiseLoad(ersim.AlertSpec{}, s.count, s.rate); err != nil {
			return fmt.Errorf("--alerts: %w", err)
		}
	}
	<-ctx.Done()
	return nil
}

func listScenarios(cmd *cobra.Command, sim *ersim.Server) error {
	type scenario struct{ name, summary string }
	var all []scenario
	for _, name := range sim.Scenarios() {
		summary, _ := sim.DescribeScenario(name)
		all = append(all, scenario{name, summary})
	}
	return printTable(cmd.OutOrStdout(), all, []column[scenario]{
		{"scenario", func(s scenario) string { return s.name }},
		{"what happens", func(s scenario) string { return s.summary }},
	})
}
