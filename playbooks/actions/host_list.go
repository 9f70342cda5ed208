package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// HostList are the arguments of host.list. Without any, the active hosts are listed.
type HostList struct {
	// Search is a part of the name, the operating system, the address or a tag of a
	// host, in whatever case.
	Search string `yaml:"search" filled:"true"`

	// Platform is the platform of the hosts; linux is every host that is neither of the
	// others.
	Platform string `yaml:"platform" enum:"any,windows,linux,darwin"`

	// State is which hosts are listed: active ones, those of them that are online or
	// offline, or the ones that host.deactivate has removed.
	State string `yaml:"state" enum:"active,online,offline,removed"`

	// Tags lists only hosts that carry one of these tags.
	Tags []string `yaml:"tags" filled:"true"`

	// Limit is how many hosts are listed at most, up to 1000.
	Limit int `yaml:"limit"`
}

// HostListOutput is what host.list leaves under .steps.<id>.output.
type HostListOutput struct {
	// Hosts are the hosts, each as host.get has it: for_each: .steps.<id>.output.hosts
	Hosts []soar.Host `json:"hosts"`
	// Partial means that there are more hosts than are listed.
	Partial bool `json:"partial"`
}

// FoundNothing reports whether there is no such host.
func (o HostListOutput) FoundNothing() bool { return len(o.Hosts) == 0 && !o.Partial }

const (
	maxListedHosts  = 1000
	maxScannedHosts = 100_000 // the server has no filter by tag
)

func init() {
	add(kind[HostList]{
		Spec: playbooks.Spec{
			Name:    "host.list",
			Summary: "Lists hosts by platform, state, tag or a part of their name.",
			Effect:  playbooks.Reads,
			Output:  HostListOutput{},
			Example: "do: host.list\nwith:\n  platform: windows\n  state: online\n  tags: [finance]\n",
			Timeout: 2 * time.Minute,
		},
		defaults: HostList{Platform: "any", State: "active", Limit: 100},
		check: func(_ *Deps, in *HostList, a *arguments) {
			if a.known("limit") && (in.Limit < 1 || in.Limit > maxListedHosts) {
				a.refuse("limit", "", "expected a whole number from 1 to %d, found %d", maxListedHosts, in.Limit)
			}
			for _, tag := range in.Tags {
				if err := connector.CheckTag(tag); err != nil {
					a.refuse("tags", "", "%v", err)
				}
			}
		},
		do: listHosts,
	})
}

func listHosts(ctx context.Context, d *Deps, _ playbooks.Call, in HostList) (playbooks.Outcome, error) {
	output := HostListOutput{Hosts: []soar.Host{}}
	scanned := 0
	for row, err := range d.Client.Hosts.List(ctx, in.query()) {
		if _, malformed := errors.AsType[*connector.MalformedError](err); malformed {
			output.Partial = true
			continue
		}
		if err != nil {
			return playbooks.Outcome{}, fmt.Errorf("list of hosts: %w", readError(err))
		}
		if scanned++; scanned > maxScannedHosts {
			output.Partial = true
			break
		}
		if len(in.Tags) > 0 && !slices.ContainsFunc(row.Tags, func(tag string) bool { return slices.Contains(in.Tags, tag) }) {
			continue
		}
		if len(output.Hosts) == in.Limit {
			output.Partial = true
			break
		}
		output.Hosts = append(output.Hosts, connector.NormalizeHost(row))
	}
	summary := fmt.Sprintf("listed %d hosts", len(output.Hosts))
	if output.Partial {
		summary += "; there are more"
	}
	return playbooks.Outcome{State: soar.StepExecuted, Summary: summary, Output: output}, nil
}

// query is what the server is asked for.
func (in HostList) query() connector.HostQuery {
	q := connector.HostQuery{Search: in.Search, Enabled: new(in.State != "removed"), Limit: min(in.Limit+1, 500)}
	if in.Platform != "any" {
		q.Platform = in.Platform
	}
	if in.State == "online" || in.State == "offline" {
		q.Online = new(in.State == "online")
	}
	if len(in.Tags) > 0 {
		q.Limit = 500
		if len(in.Tags) == 1 && in.Search == "" {
			q.Search = in.Tags[0] // the search looks at tags as well, and finds fewer than all hosts
		}
	}
	return q
}
