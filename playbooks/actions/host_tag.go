package actions

import (
	"context"
	"fmt"
	"slices"
	"strings"
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

	// Remove takes the tag away instead of adding it, as host.untag does.
	Remove bool `yaml:"remove"`

	// For is how long the host has the tag, or is without it: from a minute to 90 days.
	// Then it is by itself as it was before. Without it, it stays so.
	For time.Duration `yaml:"for"`
}

// HostTagOutput is what host.tag and host.untag leave under .steps.<id>.output.
type HostTagOutput struct {
	// Tags are all tags of the host afterwards.
	Tags []string `json:"tags"`
	// Added are those that this step gave the host: not one that was there before.
	Added []string `json:"added"`
	// Removed are those that it took from the host: not one that was not there before.
	Removed []string `json:"removed"`
}

const (
	tagAction   = "host.tag"
	untagAction = "host.untag"
)

func init() {
	add(kind[HostTag]{
		Spec: playbooks.Spec{
			Name:    tagAction,
			Summary: "Adds a tag to a host, or removes one.",
			Effect:  playbooks.Repeatable, Harmless: true,
			Inverse: untagAction,
			Output:  HostTagOutput{},
			Example: "do: host.tag\nwith:\n  host: ${{ .alert.host.identifier }}\n  tag: under-investigation\n",
			Timeout: 2 * time.Minute,
		},
		check: func(_ *Deps, in *HostTag, a *arguments) {
			checkTag(in.Tag, a)
			checkFor(in.For, a)
		},
		foresee: func(ctx context.Context, d *Deps, call playbooks.Call, in HostTag) (any, error) {
			return d.foreseeTag(ctx, call, in.change())
		},
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in HostTag) (playbooks.Outcome, error) {
			return d.tag(ctx, call, in.change())
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in HostTag, ref string) (playbooks.Outcome, error) {
			return d.tagged(ctx, call, in.change(), ref), nil
		},
		reverse: func(_ playbooks.Call, in HostTag, output map[string]any) *playbooks.Reversal {
			return in.change().reverse(output, in.For)
		},
	})
}

func checkTag(tag string, a *arguments) {
	if err := connector.CheckTag(tag); err != nil && tag != "" && a.known("tag") {
		a.refuse("tag", "use one step per tag", "%v", err)
	}
}

// tagChange is a tag that is given to a host, or taken from it.
type tagChange struct {
	host   Host
	tag    string
	remove bool
}

func (in HostTag) change() tagChange { return tagChange{in.Host, in.Tag, in.Remove} }

// What the host was like before stands in the reference of a call that could not be read
// back yet: tags: and one of these, and behind that the mark of the call.
const (
	tagChanges = "new:" // it had the tag that it loses, or had not that which it gets
	tagStays   = "old:" // it was so already, or nobody knows how it was
)

// foreseeTag looks whether the host, which may be offline, is the one that is meant, and has
// the tag that is to be taken away: the server refuses to take away others.
func (d *Deps) foreseeTag(ctx context.Context, call playbooks.Call, c tagChange) (any, error) {
	if _, err := d.meantHost(ctx, call, c.host); err != nil {
		return nil, err
	}
	tags, err := d.Client.Hosts.Tags(ctx, string(c.host))
	if err != nil {
		return nil, nil //nolint:nilerr // the call can do without
	}
	left := HostTagOutput{Tags: tags, Added: []string{}, Removed: []string{}}
	switch there := slices.Contains(tags, c.tag); {
	case c.remove && !there:
		return nil, fmt.Errorf("%w: %s has no tag %q", playbooks.ErrNothingToDo, hostName(call, c.host), c.tag)
	case c.remove:
		left.Tags, left.Removed = without(tags, []string{c.tag}), []string{c.tag}
	case !there:
		left.Tags, left.Added = append(slices.Clone(tags), c.tag), []string{c.tag}
	}
	return left, nil
}

// tag changes the tags of a host. A tag that was there before is not ours to take away
// again, so they are read first.
func (d *Deps) tag(ctx context.Context, call playbooks.Call, c tagChange) (playbooks.Outcome, error) {
	change := d.Client.Hosts.AddTag
	if c.remove {
		change = d.Client.Hosts.RemoveTag
	}
	before, unread := d.Client.Hosts.Tags(ctx, string(c.host))
	if c.remove && unread == nil && !slices.Contains(before, c.tag) { // an attempt before this one took it
		return d.tagged(ctx, call, c, "tags:"+tagStays+call.Mark), nil
	}
	if err := change(ctx, string(c.host), c.tag); err != nil {
		return playbooks.Outcome{Target: string(c.host)}, c.task(call).failure(effectError(err))
	}
	was := tagStays
	if unread == nil && slices.Contains(before, c.tag) == c.remove {
		was = tagChanges
	}
	return d.tagged(ctx, call, c, "tags:"+was+call.Mark), nil
}

func (c tagChange) task(call playbooks.Call) task {
	if c.remove {
		return task{"take", "took", fmt.Sprintf("the tag %q from %s", c.tag, hostName(call, c.host))}
	}
	return task{"tag", "tagged", fmt.Sprintf("%s %q", hostName(call, c.host), c.tag)}
}

// tagged reads the tags back. Some calls report success and do nothing, for a tag that
// does not exist among them (observed on release 2.1.2).
func (d *Deps) tagged(ctx context.Context, call playbooks.Call, c tagChange, ref string) playbooks.Outcome {
	out := playbooks.Outcome{Target: string(c.host), Summary: c.task(call).finished()}
	tags, err := d.Client.Hosts.Tags(ctx, string(c.host))
	output := HostTagOutput{Tags: tags, Added: []string{}, Removed: []string{}}
	switch {
	case err != nil:
		out.State, out.Ref, out.Unverified = soar.StepAccepted, ref, inWords(err).Error()
		return out
	case slices.Contains(tags, c.tag) == c.remove:
		out.State, out.Summary = soar.StepFailed, c.task(call).failed()
		out.Error = "the server reports success, and the host's tags have not changed"
	default:
		out.State = soar.StepVerified
		if strings.HasPrefix(ref, "tags:"+tagChanges) && c.remove {
			output.Removed = append(output.Removed, c.tag)
		} else if strings.HasPrefix(ref, "tags:"+tagChanges) {
			output.Added = append(output.Added, c.tag)
		}
	}
	out.Output = output
	return out
}

// reverse takes back what output says was changed; nil when that is nothing, or nobody
// knows what it was.
func (c tagChange) reverse(output map[string]any, after time.Duration) *playbooks.Reversal {
	changed, do := "added", untagAction
	if c.remove {
		changed, do = "removed", tagAction
	}
	list, _ := output[changed].([]any)
	if !slices.Contains(list, any(c.tag)) {
		return nil
	}
	return &playbooks.Reversal{Do: do, With: map[string]any{"host": string(c.host), "tag": c.tag}, After: after}
}
