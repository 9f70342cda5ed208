package actions

import (
	"context"
	"time"

	"github.com/erbridge/erbridge/playbooks"
)

// HostUntag are the arguments of host.untag.
type HostUntag struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Tag is the tag that is taken away.
	Tag string `yaml:"tag" required:"true"`

	// For is how long the host is without the tag: from a minute to 90 days. Then it gets
	// it back by itself. Without it, it stays so.
	For time.Duration `yaml:"for"`
}

func init() {
	add(kind[HostUntag]{
		Spec: playbooks.Spec{
			Name:    untagAction,
			Summary: "Takes a tag from a host.",
			Effect:  playbooks.Repeatable, Harmless: true,
			Inverse: tagAction,
			Output:  HostTagOutput{},
			Example: "do: host.untag\nwith:\n  host: ${{ .alert.host.identifier }}\n  tag: under-investigation\n",
			Timeout: 2 * time.Minute,
		},
		check: func(_ *Deps, in *HostUntag, a *arguments) {
			checkTag(in.Tag, a)
			checkFor(in.For, a)
		},
		foresee: func(ctx context.Context, d *Deps, call playbooks.Call, in HostUntag) (any, error) {
			return d.foreseeTag(ctx, call, in.change())
		},
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in HostUntag) (playbooks.Outcome, error) {
			return d.tag(ctx, call, in.change())
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in HostUntag, ref string) (playbooks.Outcome, error) {
			return d.tagged(ctx, call, in.change(), ref), nil
		},
		reverse: func(_ playbooks.Call, in HostUntag, output map[string]any) *playbooks.Reversal {
			return in.change().reverse(output, in.For)
		},
	})
}

func (in HostUntag) change() tagChange { return tagChange{in.Host, in.Tag, true} }
