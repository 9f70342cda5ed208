package connector_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// simulated makes a client of a simulator without a network of its own.
func simulated() (*connector.Client, func(), error) {
	server, err := ersim.New(ersim.Options{Seed: 7})
	if err != nil {
		return nil, nil, err
	}
	plain := httptest.NewServer(http.Handler(server))
	client, err := connector.New(connector.Options{URL: plain.URL, Username: "admin", Password: soar.SecretValue("admin")})
	return client, plain.Close, err
}

// Run a query more often and lose nothing else of it. The plain call replaces the
// whole query, tags and packs included.
func ExampleQueriesService_Modify() {
	client, stop, err := simulated()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	query, err := client.Queries.Modify(context.Background(), 1, func(q *connector.ScheduledQuery) error {
		q.Interval = 10 * time.Minute
		return nil
	})
	fmt.Println(query.Name, query.Interval, query.Packs, err)
	// Output: osquery_info 10m0s [it-compliance] <nil>
}

// Give hosts a config, and notice what the server passes over.
func ExampleConfigsService_Assign() {
	client, stop, err := simulated()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	const deep = 4 // a config for Windows
	assigned, err := client.Configs.Assign(context.Background(), deep, nil, []string{"finance", "web", "typo"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(assigned.Hosts), "hosts; nobody has it by", assigned.MissingTags)
	// Output: 2 hosts; nobody has it by [web typo]
}
