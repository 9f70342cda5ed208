package connector_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// A server of the 2.x line has API v0 alone. The option says so, and the services
// work as on any other.
func ExampleOptions_oldServer() {
	server, err := ersim.New(ersim.Options{Profile: "2.0", Hosts: 3})
	if err != nil {
		log.Fatal(err)
	}
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() {
		stop()
		<-ended //nolint:errcheck // it was told to stop
	}()
	dir, err := os.MkdirTemp("", "er")
	if err != nil {
		log.Print(err)
		return
	}
	defer os.RemoveAll(dir)
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, server.CAPEM(), 0o600); err != nil {
		log.Print(err)
		return
	}

	client, err := connector.New(connector.Options{
		URL: server.URL(), API: "v0", Username: "admin", Password: soar.SecretValue("admin"), CAFile: ca,
	})
	if err != nil {
		log.Print(err)
		return
	}
	for host, err := range client.Hosts.List(ctx, connector.HostQuery{Platform: "windows"}) {
		if err != nil {
			log.Print(err)
			return
		}
		if err := client.Hosts.AddTag(ctx, host.Identifier, "seen"); err != nil {
			log.Print(err)
			return
		}
		fmt.Println(host.Name, *host.Online)
	}
	// Output:
	// WIN-FIN-01 true
	// WIN-HR-01 true
}
