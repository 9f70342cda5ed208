package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
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
func (s *V0Service) Nodes(ctx context.Context, q V0NodeQuery) (page Page[Host], err error) {
	k := callV0Nodes
	switch {
	case q.Platform != "" && q.Online:
		return page, fmt.Errorf("nodes: %w: platform and online exclude each other", ErrInvalid)
	case q.Platform != "":
		k = k.asking(map[string]string{"platform": q.Platform})
	case q.Online:
		k = k.asking(map[string]string{"state": "true"})
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { page = rows(v, nodeRow) }))
	return page, err
}

// nodeRow reads a node; the oldest releases tell no id.
func nodeRow(v value) (Host, error) {
	h := readHost(tidyNode(v))
	switch {
	case !v.isObject():
		return h, errNotObject
	case h.Identifier == "":
		return h, errors.New("node without identifier")
	}
	return h, nil
}

// tidyNode makes the tags of a node texts. They are objects in some releases.
func tidyNode(v value) value {
	if !v.isObject() {
		return v
	}
	tags := []any{}
	for _, tag := range tagNames(v.at("tags")) {
		tags = append(tags, tag)
	}
	return altered(v, map[string]any{"tags": tags})
}

// tagNames reads tags: texts, or objects with the text under value.
func tagNames(v value) (names []string) {
	if !v.isArray() {
		return v.texts()
	}
	for item := range v.items() {
		if name := first(item.at("value", "name"), item); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Node fetches one host by its identifier; its id is not taken. ErrNotFound if there
// is none.
// API v0: GET /nodes/{host_identifier} (guide of API v0, "Get Node by
// host_identifier").
func (s *V0Service) Node(ctx context.Context, host string) (h Host, err error) {
	k, err := callV0NodesGet.with(host)
	if err != nil {
		return h, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { h = readHost(tidyNode(v)) }))
	if err == nil && h.Identifier == "" {
		err = missing(k)
	}
	if err != nil {
		return Host{}, err
	}
	return h, nil
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
	err = s.c.do(ctx, k, in, data(func(v value) {
		a = NodeActivity{Identifier: v.at("node").at("host_identifier").text(), Queries: v.at("queries_packs").texts()}
	}))
	return a, err
}

// TagEdit are tags to add and to remove. A tag in both is removed.
type TagEdit struct{ Add, Remove []string }

// arguments are the two comma lists. Both are sent, because the server breaks
// where one is missing.
func (e TagEdit) arguments() (map[string]any, error) {
	if len(e.Add)+len(e.Remove) == 0 {
		return nil, fmt.Errorf("edit tags: %w: no tag to add or to remove", ErrInvalid)
	}
	in := map[string]any{}
	for key, tags := range map[string][]string{"add_tags": e.Add, "remove_tags": e.Remove} {
		list, err := tagList(tags)
		if err != nil {
			return nil, err
		}
		in[key] = list
	}
	return in, nil
}

// tagList joins tags as API v0 wants them.
func tagList(tags []string) (string, error) {
	for _, tag := range tags {
		if err := CheckTag(tag); err != nil {
			return "", err
		}
	}
	return strings.Join(tags, ","), nil
}

// someTags is tagList where there must be a tag.
func someTags(tags []string) (map[string]any, error) {
	if len(tags) == 0 {
		return nil, fmt.Errorf("add tags: %w: no tag to add", ErrInvalid)
	}
	list, err := tagList(tags)
	return map[string]any{"tags": list}, err
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

func (s *V0Service) tags(ctx context.Context, k call, part string) (tags []string, err error) {
	if k, err = k.with(part); err != nil {
		return nil, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { tags = tagNames(v) }))
	return tags, err
}

func (s *V0Service) addTags(ctx context.Context, k call, part string, tags []string) error {
	in, err := someTags(tags)
	if err != nil {
		return err
	}
	if k, err = k.with(part); err != nil {
		return err
	}
	return s.c.do(ctx, k, in, nil)
}

// object fetches one object as JSON. ErrNotFound if there is none.
func (s *V0Service) object(ctx context.Context, k call, in any) (raw json.RawMessage, err error) {
	err = s.c.do(ctx, k, in, data(func(v value) { raw = v.raw() }))
	if err == nil && raw == nil && k.byID {
		err = missing(k)
	}
	return raw, err
}
