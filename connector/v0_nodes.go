package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// V0NodeQuery filters the nodes. Only one of its fields may be set: with both,
// release 2.1.2 lists the hosts that are offline.
type V0NodeQuery struct {
	Platform string // windows, darwin, or a Linux distribution
	// Online leaves out hosts that are offline. The opposite cannot be asked for: the
	// server takes the text false for true.
	Online bool
}

// Nodes fetches all hosts. Without a filter all releases have the call.
// API v0: GET /nodes/ (guide of API v0, "Get Endpoint Node Info"; the filters are in
// the public source of release 2.1.2).
func (s *V0Service) Nodes(ctx context.Context, q V0NodeQuery) (Page[Host], error) {
	k := callV0Nodes
	switch {
	case q.Platform != "" && q.Online:
		return Page[Host]{}, fmt.Errorf("nodes: %w: platform and online exclude each other", ErrInvalid)
	case q.Platform != "":
		k = k.asking(map[string]string{"platform": q.Platform})
	case q.Online:
		k = k.asking(map[string]string{"state": "true"})
	}
	return v0Page(ctx, s, k, nil, nodeRow)
}

// nodeRow reads a node; the oldest releases tell no id.
func nodeRow(v value) (Host, error) {
	h := readHost(tidyTags(v))
	switch {
	case !v.isObject():
		return h, errNotObject
	case h.Identifier == "":
		return h, errors.New("node without identifier")
	}
	return h, nil
}

// Node fetches one host by its identifier; its id is not taken. ErrNotFound if there
// is none.
// API v0: GET /nodes/{host_identifier} (guide of API v0, "Get Node by
// host_identifier").
func (s *V0Service) Node(ctx context.Context, host string) (Host, error) {
	k, err := callV0NodesGet.with(host)
	if err != nil {
		return Host{}, err
	}
	return v0One(ctx, s, k, nil, nodeRow)
}

// ExportNodes copies the list of all hosts as CSV to w.
// API v0: GET /nodes_csv (public source of release 2.1.2).
func (s *V0Service) ExportNodes(ctx context.Context, w io.Writer) (int64, error) {
	return s.c.export(ctx, callV0NodesCsv, nil, w)
}

// NodeActivity is what a host has sent.
type NodeActivity struct {
	Identifier string
	// Queries are those that results are kept of.
	Queries []string
}

// Activity names the queries that a host has sent results of. since is told to the
// server, which does not heed it in release 2.1.2; the zero time is 30 days ago.
// API v0: POST /nodes/{host_identifier}/activity (public source of release 2.1.2).
func (s *V0Service) Activity(ctx context.Context, host string, since time.Time) (a NodeActivity, err error) {
	k, err := callV0NodesActivity.with(host)
	if err != nil {
		return a, err
	}
	if since.IsZero() {
		since = time.Now().AddDate(0, 0, -30)
	}
	// The layout is Python's %b %d %Y %I:%M%p.
	in := map[string]any{"timestamp": since.UTC().Format("Jan 02 2006 03:04PM")}
	told := false
	err = s.c.do(ctx, k, in, data(func(v value) {
		told = v.isObject()
		a = NodeActivity{Identifier: v.at("node").at("host_identifier").text(), Queries: v.at("queries_packs").texts()}
	}))
	if err == nil && !told {
		err = missing(k)
	}
	return a, err
}

// EditNodeTags adds and removes tags of a host.
// API v0: POST /nodes/tag/edit (guide of API v0, "Modify Tags for a Node").
func (s *V0Service) EditNodeTags(ctx context.Context, host string, edit TagEdit) error {
	in, err := edit.arguments()
	if err != nil {
		return err
	}
	if host == "" {
		return fmt.Errorf("edit tags: %w", ErrEmptyTarget)
	}
	in["host_identifier"] = host
	return s.c.do(ctx, callV0NodesTagEdit, in, nil)
}

// NodeTags fetches the tags of a host.
// API v0: GET /nodes/{host_identifier}/tags (public source of release 2.1.2).
func (s *V0Service) NodeTags(ctx context.Context, host string) ([]string, error) {
	return s.tags(ctx, callV0NodesTagsGet, host)
}

// AddNodeTags adds tags to a host. EditNodeTags is better: release 2.1.2 takes a
// tag twice here.
// API v0: POST /nodes/{host_identifier}/tags (public source of release 2.1.2).
func (s *V0Service) AddNodeTags(ctx context.Context, host string, tags ...string) error {
	return s.addTags(ctx, callV0NodesTagsAdd, host, tags)
}
