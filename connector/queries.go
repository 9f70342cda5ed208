package connector

import (
	"context"
	"fmt"
	"strings"
)

// QueriesService is the part of the section "Queries" of the REST guide that asks
// hosts right now.
type QueriesService struct {
	c    *Client
	turn turn
}

// LiveQuery is SQL to run on the hosts that are online at this moment.
type LiveQuery struct {
	SQL string
	// Hosts (identifiers), Tags and OSNames choose the hosts, added up. OSNames are
	// exact and for release 3.5 and later: earlier ones are ErrUnavailable.
	Hosts, Tags, OSNames []string
	// AllHosts runs the query on every host. It excludes the others.
	AllHosts    bool
	Description string
}

// LiveTicket is a live query that was sent.
type LiveTicket struct {
	QueryID int64
	// Online is how many hosts were asked.
	Online int
	// Hosts are those that were asked, where the server tells.
	Hosts []LiveHost
}

// LiveHost is a host that was asked.
type LiveHost struct {
	NodeID     int64
	Identifier string
	Name       string
}

// Live sends a query to the hosts that are online. A query without a target is
// ErrEmptyTarget and is not sent, unless AllHosts is set: some releases take it as
// every host. That no host is online is ErrRefused. The results come from Results.
// API: POST /distributed/add (REST guide 4.0.0, "Add distributed query").
func (s *QueriesService) Live(ctx context.Context, q LiveQuery) (t LiveTicket, err error) {
	if strings.TrimSpace(q.SQL) == "" {
		return t, fmt.Errorf("live query: %w: SQL is empty", ErrInvalid)
	}
	in := map[string]any{"query": q.SQL}
	set(in, "description", q.Description)
	if err := q.target(in); err != nil {
		return t, err
	}
	if len(q.OSNames) > 0 {
		if err := s.knowsOSNames(ctx); err != nil {
			return t, err
		}
	}
	if q.AllHosts {
		// Release 4.0 refuses to guess who "everyone" is.
		if in["nodes"], err = s.everyone(ctx); err != nil {
			return t, fmt.Errorf("live query: find all hosts: %w", err)
		}
	}
	err = s.c.do(ctx, callDistributedAdd, in, data(func(v value) {
		t = LiveTicket{
			QueryID: v.at("query_id").id(),
			Online:  v.at("onlineNodes").count(),
			Hosts:   liveHosts(v.at("online_nodes_details")),
		}
	}))
	if err != nil {
		return LiveTicket{}, err
	}
	// A host matched twice, by name and by tag, is counted twice by the server.
	if n := len(t.Hosts); n > 0 && n < t.Online {
		t.Online = n
	}
	if t.QueryID == 0 {
		return t, lacking(callDistributedAdd, "the answer holds no query id")
	}
	return t, nil
}

// target writes who shall be asked. Hosts and tags go as comma text: of an array
// the server takes only the first element.
func (q LiveQuery) target(in map[string]any) (err error) {
	named := len(q.Hosts) + len(q.Tags) + len(q.OSNames)
	switch {
	case q.AllHosts && named > 0:
		return fmt.Errorf("live query: %w: all hosts and named ones exclude each other", ErrInvalid)
	case !q.AllHosts && named == 0:
		return fmt.Errorf("live query: %w", ErrEmptyTarget)
	}
	if len(q.Hosts) > 0 {
		if in["nodes"], err = commaList("live query", q.Hosts); err != nil {
			return err
		}
	}
	if len(q.Tags) > 0 {
		if in["tags"], err = commaList("live query", q.Tags); err != nil {
			return err
		}
	}
	if len(q.OSNames) > 0 {
		if _, err = commaList("live query", q.OSNames); err != nil {
			return err
		}
		in["os_name"] = q.OSNames // the one list that is an array
	}
	return nil
}

// knowsOSNames refuses a query by OS name where the server would pass over the names
// and, with no other target, ask every host (public source of release 2.1.2).
func (s *QueriesService) knowsOSNames(ctx context.Context) error {
	index, err := s.c.Index(ctx)
	switch {
	case err != nil:
		return before(callDistributedAdd, fmt.Errorf("live query: find out whether the server knows OS names: %w", err))
	case index.Before35:
		return fmt.Errorf("live query: by OS name: %w", unavailable{call{releases: "since 3.5"}})
	}
	return nil
}

// everyone lists the identifiers of all hosts that are online.
func (s *QueriesService) everyone(ctx context.Context) (string, error) {
	var all []string
	for h, err := range s.c.Hosts.List(ctx, HostQuery{Online: new(true), Limit: 500}) {
		if err != nil {
			return "", err
		}
		if h.Identifier != "" {
			all = append(all, h.Identifier)
		}
	}
	return commaList("live query", all)
}

// liveHosts reads hosts, each once.
func liveHosts(v value) (hosts []LiveHost) {
	seen := make(map[LiveHost]bool)
	for host := range v.items() {
		h := LiveHost{
			NodeID:     host.at("node_id").id(),
			Identifier: host.at("host_identifier").text(),
			Name:       host.at("hostname").text(),
		}
		if h != (LiveHost{}) && !seen[h] {
			seen[h] = true
			hosts = append(hosts, h)
		}
	}
	return hosts
}
