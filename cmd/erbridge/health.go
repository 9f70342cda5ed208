package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/console"
)

func newHealth() *cobra.Command {
	var file configFlag
	var address string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "ask the running daemon whether it is ready; exit code 1 and the reasons when it is not",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if address == "" {
				var err error
				if address, err = file.console(); err != nil {
					return err
				}
				if address == "" {
					return errors.New("the configuration has no console to ask: console.listen is empty")
				}
			}
			ready, err := askReady(cmd.Context(), address)
			if err != nil {
				return err
			}
			for _, name := range sortedNames(ready.Warnings) {
				fmt.Fprintf(cmd.OutOrStdout(), "warning: %s: %s\n", clean(name), clean(ready.Warnings[name]))
			}
			if !ready.Ready {
				var reasons []string
				for _, name := range sortedNames(ready.Missing) {
					reasons = append(reasons, name+": "+ready.Missing[name])
				}
				return fmt.Errorf("not ready: %s", strings.Join(reasons, "; "))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "ready")
			return err
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&address, "address", "", "host:port of the console, in place of the configuration's")
	return cmd
}

func askReady(ctx context.Context, address string) (ready console.Readiness, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return ready, fmt.Errorf("console address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // it listens everywhere, so here too
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return ready, err
	}
	res, err := (&http.Client{}).Do(req)
	if err != nil {
		return ready, fmt.Errorf("nobody answers: %w", err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&ready); err != nil {
		return ready, fmt.Errorf("the answer %s of %s is not that of erbridge: %w", res.Status, address, err)
	}
	return ready, nil
}

func sortedNames(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
