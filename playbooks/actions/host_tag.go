package actions

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// HostTag are the arguments of host.tag.
type HostTag struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Tag is the tag: up to 63 letters, digits and any of _ @ . -
	Tag string `yaml:"tag" required:"true"`

	// Remove takes the tag away instead of adding it.
	Remove bool `yaml:"remove"`
}

// HostTagOutput is what host.tag leaves under .steps.<id>.output.
type HostTagOutput struct {
	// Tags are all tags of the host afterwards.
	Tags []string `json:"tags"`
}

func init() {
	add(kind[HostTag]{
		Spec: playbooks.Spec{
			Name:    "host.tag",
			Summary: "Adds a tag to a host, or removes one.",
			Effect:  playbooks.Repeatable, Harmless: true,
			Output:  HostTagOutput{},
			Example: "do: host.tag\nwith:\n  host: ${{ .alert.host.identifier }}\n  tag: under-investigation\n",
			Timeout: 2 * time.Minute,
		},
		check: func(_ *Deps, in *HostTag, a *arguments) {
			if err := connector.CheckTag(in.Tag); err != nil && in.Tag != "" && a.known("tag") {
				a.refuse("tag", "use one step per tag", "%v", err)
			}
		},
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in HostTag) error {
			_, err := d.meantHost(ctx, call, in.Host) // it may be offline
			return err
		},
		do: tagHost,
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in HostTag, _ string) (playbooks.Outcome, error) {
			return d.tagged(ctx, call, in), nil
		},
	})
}

func tagHost(ctx context.Context, d *Deps, call playbooks.Call, in HostTag) (playbooks.Outcome, error) {
	change := d.Client.Hosts.AddTag
	if in.Remove {
		change = d.Client.Hosts.RemoveTag
	}
	if err := change(ctx, string(in.Host), in.Tag); err != nil {
		return playbooks.Outcome{Target: string(in.Host)}, in.task(call).failure(effectError(err))
	}
	return d.tagged(ctx, call, in), nil
}

func (in HostTag) task(call playbooks.Call) task {
	if in.Remove {
		return task{"take", "took", fmt.Sprintf("the tag %q from %s", in.Tag, hostName(call, in.Host))}
	}
	return task{"tag", "tagged", fmt.Sprintf("%s %q", hostName(call, in.Host), in.Tag)}
}

// tagged reads the tags back. Some calls report success and do nothing, for a tag that
// does not exist among them (observed on release 2.1.2).
func (d *Deps) tagged(ctx context.Context, call playbooks.Call, in HostTag) playbooks.Outcome {
	out := playbooks.Outcome{Target: string(in.Host), Summary: in.task(call).finished()}
	tags, err := d.Client.Hosts.Tags(ctx, string(in.Host))
	switch {
	case err != nil:
		out.State, out.Ref, out.Unverified = soar.StepAccepted, "tags:"+call.Mark, inWords(err).Error()
		return out
	case slices.Contains(tags, in.Tag) == in.Remove:
		out.State, out.Summary = soar.StepFailed, in.task(call).failed()
		out.Error = "the server reports success, and the host's tags have not changed"
	default:
		out.State = soar.StepVerified
	}
	out.Output = HostTagOutput{Tags: tags}
	return out
}
