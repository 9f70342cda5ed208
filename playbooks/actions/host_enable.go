package actions

import (
	"context"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// HostEnable are the arguments of host.enable.
type HostEnable struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`
}

func init() {
	add(kind[HostEnable]{
		Spec: playbooks.Spec{
			Name:    "host.enable",
			Summary: "Brings a host back that was removed from the server's active hosts.",
			Effect:  playbooks.Repeatable,
			Needs:   []string{"admin"},
			Inverse: "host.deactivate",
			Kind:    membership,
			Sense:   "enable",
			Output:  HostStateOutput{},
			Example: "do: host.enable\nwith:\n  host: ${{ .alert.host.identifier }}\n",
			Timeout: 2 * time.Minute,
		},
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in HostEnable) error {
			return in.turn(d, call).ready(ctx, d, call)
		},
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in HostEnable) (playbooks.Outcome, error) {
			return in.turn(d, call).do(ctx, d)
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in HostEnable, _ string) (playbooks.Outcome, error) {
			return in.turn(d, call).look(ctx, d), nil
		},
		reverse: func(_ playbooks.Call, in HostEnable, _ map[string]any) *playbooks.Reversal {
			return &playbooks.Reversal{Do: "host.deactivate", With: map[string]any{"host": string(in.Host)}}
		},
	})
}

func (in HostEnable) turn(d *Deps, call playbooks.Call) turn {
	return turn{task{"enable", "enabled", hostName(call, in.Host)}, "enabling a host", in.Host, connector.HostActive, d.Client.Hosts.Reactivate}
}
