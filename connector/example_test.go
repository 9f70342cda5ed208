package connector_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// A client of a server with a certificate of its own: list what is open, cut the
// host off, and tell a call that failed from one that may have happened.
func Example() {
	if err := example(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// CRITICAL Shadow copies deleted
	// contained: true
}

func example(ctx context.Context) error {
	server, err := ersim.New(ersim.Options{Seed: 7})
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- server.Run(ctx) }()
	defer func() {
		stop()
		<-stopped //nolint:errcheck // it was told to stop
	}()
	server.Raise(ersim.AlertSpec{Host: "1", Rule: "Shadow copies deleted", Severity: "CRITICAL"})

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	caFile := filepath.Join(dir, "er.pem")
	if err := os.WriteFile(caFile, server.CAPEM(), 0o600); err != nil {
		return err
	}

	client, err := connector.New(connector.Options{
		URL: server.URL(), Username: "admin", Password: soar.SecretValue("admin"), CAFile: caFile,
	})
	if err != nil {
		return err
	}
	for alert, err := range client.Alerts.List(ctx, connector.AlertQuery{Resolved: new(false)}) {
		if err != nil {
			return err
		}
		fmt.Println(alert.Severity, alert.RuleName)
		host, err := client.Hosts.Get(ctx, fmt.Sprint(alert.NodeID))
		if err != nil {
			return err
		}
		command, err := client.Responses.Contain(ctx, connector.FirewallRule{
			Hosts: []string{host.Identifier}, RuleName: "erbridge-example", Description: "contained by an example",
		})
		if errors.Is(err, connector.ErrUncertain) {
			return fmt.Errorf("look before you try again: %w", err)
		}
		if err != nil {
			return err
		}
		fmt.Println("contained:", command.CommandID != "")
	}
	return nil
}
