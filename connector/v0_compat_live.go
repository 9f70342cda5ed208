package connector

import (
	"context"
	"slices"
)

// askLive sends a live query. The answer of v0 is the query's id alone, so who will
// answer is reckoned from the nodes, read before: results are counted against them.
func (o *oldAPI) askLive(ctx context.Context, k call, in value) (any, error) {
	if err := understood(k, in, "query", "nodes", "tags", "description"); err != nil {
		return nil, err
	}
	q := LiveQuery{SQL: in.at("query").text(), Hosts: in.at("nodes").texts(), Tags: in.at("tags").texts(), Description: in.at("description").text()}
	all, err := o.statedHosts(ctx)
	if err != nil {
		return nil, before(k, err)
	}
	var named, online []any
	for _, v := range all {
		h := readHost(v)
		if !slices.Contains(q.Hosts, h.Identifier) && !slices.ContainsFunc(q.Tags, func(tag string) bool { return slices.Contains(h.Tags, tag) }) {
			continue
		}
		target := map[string]any{"node_id": v.at("id").v, "host_identifier": h.Identifier, "hostname": h.Name}
		named = append(named, target)
		if h.Online == nil || *h.Online {
			online = append(online, target)
		}
	}
	if len(named) == 0 {
		return nil, absentIn(k, "no such host, and no host with such a tag")
	}
	id, err := o.c.V0.LiveQuery(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(online) == 0 {
		online = named // the server, which would have refused, knows better
	}
	return map[string]any{"query_id": id, "onlineNodes": len(online), "online_nodes_details": online}, nil
}
