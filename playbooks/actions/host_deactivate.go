package actions

import (
	"context"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// HostDeactivate are the arguments of host.deactivate.
type HostDeactivate struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// For is how long the host stays away: from a minute to 90 days. Then it is enabled by
	// itself. Without it, somebody has to enable it.
	For time.Duration `yaml:"for"`
}

func init() {
	add(kind[HostDeactivate]{
		Spec: playbooks.Spec{
			Name:    "host.deactivate",
			Summary: "Removes a host from the server's active hosts: its agent is turned away, and no action reaches it, until host.enable.",
			Effect:  playbooks.Repeatable,
			Needs:   []string{"admin"},
			Inverse: "host.enable",
			Kind:    membership,
			Sense:   "deactivate",
			Output:  HostStateOutput{},
			Example: "do: host.deactivate\nwith:\n  host: ${{ .alert.host.identifier }}\n",
			Timeout: 2 * time.Minute,
		},
		check: func(_ *Deps, in *HostDeactivate, a *arguments) { checkFor(in.For, a) },
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in HostDeactivate) error {
			return in.turn(d, call).ready(ctx, d, call)
		},
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in HostDeactivate) (playbooks.Outcome, error) {
			return in.turn(d, call).do(ctx, d)
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in HostDeactivate, _ string) (playbooks.Outcome, error) {
			return in.turn(d, call).look(ctx, d), nil
		},
		reverse: func(_ playbooks.Call, in HostDeactivate, _ map[string]any) *playbooks.Reversal {
			return &playbooks.Reversal{Do: "host.enable", With: map[string]any{"host": string(in.Host)}, After: in.For}
		},
	})
}

func (in HostDeactivate) turn(d *Deps, call playbooks.Call) turn {
	return turn{task{"deactivate", "deactivated", hostName(call, in.Host)}, "deactivating a host", in.Host, connector.HostRemoved, d.Client.Hosts.Deactivate}
}
