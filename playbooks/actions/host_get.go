package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// HostGet are the arguments of host.get.
type HostGet struct {
	// Host is the host identifier, or the server's number of the host.
	Host HostRef `yaml:"host" required:"true"`
}

func init() {
	add(kind[HostGet]{
		Spec: playbooks.Spec{
			Name:    "host.get",
			Summary: "Reads what the server knows about a host: platform, tags, addresses, online or not.",
			Effect:  playbooks.Reads,
			Output:  soar.Host{},
			Example: "do: host.get\nwith:\n  host: ${{ .alert.host.identifier }}\n",
			Timeout: time.Minute,
		},
		do: getHost,
	})
}

func getHost(ctx context.Context, d *Deps, _ playbooks.Call, in HostGet) (playbooks.Outcome, error) {
	host, err := d.host(ctx, in.Host)
	if err != nil {
		return playbooks.Outcome{}, fmt.Errorf("host %s: %w", in.Host, readError(err))
	}
	return playbooks.Outcome{
		State:   soar.StepExecuted,
		Target:  host.Identifier,
		Summary: "read host " + host.Name,
		Output:  host,
	}, nil
}

// host reads a host from the detail call, and from the list what only the list
// tells: tags, and whether it is online.
func (d *Deps) host(ctx context.Context, ref HostRef) (soar.Host, error) {
	detail, err := d.Client.Hosts.Get(ctx, string(ref))
	if err != nil {
		return soar.Host{}, err
	}
	return d.listed(ctx, connector.NormalizeHost(detail))
}
