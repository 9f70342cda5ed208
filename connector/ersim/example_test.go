package ersim_test

import (
	"context"
	"fmt"
	"log"

	"github.com/erbridge/erbridge/connector/ersim"
)

// A playbook test starts a simulator, raises what the playbook waits for, and looks
// at what reached the endpoint.
func Example() {
	sim, err := ersim.New(ersim.Options{Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- sim.Run(ctx) }()

	// Point a client at sim.URL(), with sim.CAPEM() as its CA.
	host := sim.Hosts()[0]
	id := sim.Raise(ersim.AlertSpec{Host: host.Identifier, Rule: "Credential dumping"})
	for _, alert := range sim.Alerts() {
		fmt.Println(alert.ID == id, alert.HostName, alert.Rule, alert.Severity, alert.Status)
	}
	fmt.Println(len(sim.Commands()), "commands so far")

	stop()
	if err := <-stopped; err != nil {
		log.Fatal(err)
	}
	// Output:
	// true WIN-FIN-01 Credential dumping CRITICAL OPEN
	// 0 commands so far
}
