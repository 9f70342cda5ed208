package connector

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Assigned is what an assignment came to, by asking who uses the config now.
type Assigned struct {
	// Hosts use the config, those of before included.
	Hosts []Host
	// MissingHosts are identifiers that were named and do not use it: the server
	// passes over unknown hosts and hosts of another platform.
	MissingHosts []string
	// MissingTags are tags that were named and that no host with the config has.
	MissingTags []string
}

// Complete reports whether every host and tag that was named shows up.
func (a Assigned) Complete() bool { return len(a.MissingHosts) == 0 && len(a.MissingTags) == 0 }

// Assign gives a config to hosts, by identifier and by tag, added up. No target at
// all is ErrEmptyTarget. The server answers success whatever it finds, so the hosts
// of the config are read afterwards: look at Assigned.Complete. If they cannot be
// read the error is ErrUncertain. It needs the admin role.
// API: PUT /configs/{config_id}/assign (REST guide 4.0.0, "Assign a config to hosts").
func (s *ConfigsService) Assign(ctx context.Context, id int64, hosts, tags []string) (a Assigned, err error) {
	const call = "assign config"
	k, err := callConfigsAssign.withID(id)
	if err != nil {
		return a, err
	}
	if len(hosts)+len(tags) == 0 {
		return a, fmt.Errorf("%s: %w", call, ErrEmptyTarget)
	}
	in := make(map[string]any)
	if len(hosts) > 0 {
		if in["host_identifiers"], err = commaList(call, hosts); err != nil {
			return a, err
		}
	}
	if len(tags) > 0 {
		if in["tags"], err = commaList(call, tags); err != nil {
			return a, err
		}
	}
	if err := s.c.do(ctx, k, in, nil); err != nil {
		return a, err
	}
	page, err := s.Hosts(ctx, id)
	if err != nil {
		return a, unread(fmt.Sprintf("%s %d", call, id), nil, err)
	}
	a.Hosts = page.Results
	for _, host := range hosts {
		if !slices.ContainsFunc(a.Hosts, func(h Host) bool { return h.Identifier == strings.TrimSpace(host) }) {
			a.MissingHosts = append(a.MissingHosts, host)
		}
	}
	for _, tag := range tags {
		if !slices.ContainsFunc(a.Hosts, func(h Host) bool { return slices.Contains(h.Tags, strings.TrimSpace(tag)) }) {
			a.MissingTags = append(a.MissingTags, tag)
		}
	}
	return a, nil
}

// Hosts fetches the hosts that use a config, all at once; those of a default config
// are all hosts of the platform that have no other. ErrNotFound if there is no such
// config.
// API: GET /configs/{config_id}/hosts (REST guide 4.0.0, "Get a list of hosts
// assigned a config").
func (s *ConfigsService) Hosts(ctx context.Context, id int64) (page Page[Host], err error) {
	k, err := callConfigsHosts.withID(id)
	if err != nil {
		return page, err
	}
	return paged(ctx, s.c, k, nil, hostRow)
}
