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
		do: tagHost,
	})
}

func tagHost(ctx context.Context, d *Deps, call playbooks.Call, in HostTag) (playbooks.Outcome, error) {
	task := task{"tag", "tagged", fmt.Sprintf("%s %q", hostName(call, in.Host), in.Tag)}
	change := d.Client.Hosts.AddTag
	if in.Remove {
		task.todo, task.done, task.what = "take", "took", fmt.Sprintf("the tag %q from %s", in.Tag, hostName(call, in.Host))
		change = d.Client.Hosts.RemoveTag
	}
	out := playbooks.Outcome{Target: string(in.Host)}
	if err := change(ctx, string(in.Host), in.Tag); err != nil {
		return out, task.failure(effectError(err))
	}
	out.Summary = task.finished()
	out.State = soar.StepExecuted
	tags, err := d.Client.Hosts.Tags(ctx, string(in.Host))
	if err != nil {
		out.Summary += "; not verified: " + inWords(err).Error()
		return out, nil
	}
	out.Output = HostTagOutput{Tags: tags}
	// Some calls report success and do nothing, for a tag that does not exist
	// among them (observed on release 2.1.2), so the answer is read back.
	if slices.Contains(tags, in.Tag) == in.Remove {
		out.State, out.Summary = soar.StepFailed, task.failed()
		out.Error = "the server reports success, and the host's tags have not changed"
		return out, nil
	}
	out.State = soar.StepVerified
	return out, nil
}
