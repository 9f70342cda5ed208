package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HostsService is the section "Hosts" of the REST guide.
type HostsService struct{ c *Client }

// Host is an endpoint as the server tells it. The list and the detail call tell
// different things; what a call does not tell has its zero value. The node key,
// with which the agent proves who it is, is dropped while reading.
type Host struct {
	ID         int64
	Identifier string
	Name       string // display name; the detail call has the computer's name
	Platform   string // windows, darwin, or a Linux distribution; empty before the agent told
	OSName     string
	OSVersion  string
	LastIP     string
	MAC        string // detail only
	Tags       []string
	Online     *bool // list only
	AlertCount int   // unresolved alerts; list only
	State      int   // HostActive, HostRemoved or HostDeleted; release 4.0

	LastCheckin, EnrolledOn, LastStatus, LastResult, LastConfig time.Time

	// Details is host_details as the server keeps it: agent versions, security
	// products. nil if empty.
	Details json.RawMessage
}

func readHost(v value) Host {
	os := v.at("os_info") // null and {} before the agent told
	return Host{
		ID:          v.at("id").id(),
		Identifier:  v.at("host_identifier").text(),
		Name:        first(v.at("display_name"), v.at("hostname"), v.at("node_info").at("computer_name")),
		Platform:    first(v.at("platform"), os.at("platform")),
		OSName:      os.at("name").text(),
		OSVersion:   os.at("version").text(),
		LastIP:      v.at("last_ip").text(),
		MAC:         macAddress(v.at("network_info")),
		Tags:        v.at("tags").texts(),
		Online:      v.at("is_active").boolean(),
		AlertCount:  v.at("alerts_count").count(),
		State:       v.at("state").count(),
		LastCheckin: v.at("last_checkin").time(),
		EnrolledOn:  v.at("enrolled_on").time(),
		LastStatus:  v.at("last_status").time(),
		LastResult:  v.at("last_result").time(),
		LastConfig:  v.at("last_config").time(),
		Details:     v.at("host_details").raw(),
	}
}

// first returns the first text that is not empty.
func first(values ...value) string {
	for _, v := range values {
		if text := v.text(); text != "" {
			return text
		}
	}
	return ""
}

// macAddress reads network_info: {} at first, later an array of interfaces; an
// object with mac_address on old servers. The first real address counts.
func macAddress(v value) string {
	interfaces := []value{v}
	if v.isArray() {
		interfaces = slices.Collect(v.items())
	}
	for _, one := range interfaces {
		if mac := one.at("mac", "mac_address").text(); mac != "" && mac != "00:00:00:00:00:00" {
			return mac
		}
	}
	return ""
}

func hostRow(v value) (Host, error) {
	h := readHost(v)
	return h, needID(v, h.ID, "host")
}

// HostQuery filters the host list. Empty fields filter nothing.
type HostQuery struct {
	Online   *bool
	Platform string // windows, linux (all but windows and darwin) or darwin
	// Enabled chooses active or removed hosts. nil is both in release 4.0 and the
	// active ones before.
	Enabled *bool
	Search  string // host name, OS name, address, tag
	Column  string // host, state, health (alerts that are not resolved), os or last_ip; release 4.0
	Desc    bool
	// Brief leaves the count of alerts out, which is quicker; release 4.0 then leaves
	// tags and address out as well.
	Brief bool
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// arguments checks the filter and writes it as the calls want it.
func (q HostQuery) arguments(what string) (map[string]any, error) {
	in := map[string]any{}
	if err := errors.Join(
		inSet(what, "platform", q.Platform, "windows", "linux", "darwin"),
		inSet(what, "column", q.Column, "host", "state", "health", "os", "last_ip"),
		noNUL(what, "search text", q.Search),
		paging(in, what, q.Start, q.Limit),
	); err != nil {
		return nil, err
	}
	if q.Online != nil {
		in["status"] = *q.Online // must be a JSON boolean: the text "false" counts as true
	}
	if q.Enabled != nil {
		in["enabled"] = *q.Enabled
	}
	if q.Brief {
		in["alerts_count"] = false
	}
	set(in, "platform", q.Platform)
	set(in, "searchterm", q.Search)
	order(in, q.Column, q.Desc)
	return in, nil
}

// noNUL refuses a text with the character U+0000, at which the server's database
// makes it fail.
func noNUL(what, argument, text string) error {
	if strings.ContainsRune(text, 0) {
		return fmt.Errorf("%s: %w: %s %q holds U+0000", what, ErrInvalid, argument, clip(text, 80))
	}
	return nil
}

// hostArgument names the host of a call that has it in its body: by id where ref is a
// number, else by identifier, as paths do.
func hostArgument(what, ref string) (map[string]any, error) {
	if ref == "" {
		return nil, fmt.Errorf("%s: %w", what, ErrEmptyTarget)
	}
	if strings.Trim(ref, "0123456789") != "" {
		return map[string]any{"host_identifier": ref}, noNUL(what, "host", ref)
	}
	id, err := strconv.ParseInt(ref, 10, 32)
	if err != nil || id == 0 {
		return nil, fmt.Errorf("%s: %w: %s cannot be the id of a host", what, ErrInvalid, clip(ref, 40))
	}
	return map[string]any{"node_id": id}, nil
}

// Page fetches one page of hosts. Rows without an id are in Page.Malformed.
// API: POST /hosts (REST guide 4.0.0, "View hosts").
func (s *HostsService) Page(ctx context.Context, q HostQuery) (page Page[Host], err error) {
	in, err := q.arguments("list hosts")
	if err != nil {
		return page, err
	}
	return paged(ctx, s.c, callHostsList, in, hostRow)
}

// List walks through all hosts from q.Start on, q.Limit at a time.
func (s *HostsService) List(ctx context.Context, q HostQuery) iter.Seq2[Host, error] {
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[Host], error) {
		return s.Page(ctx, q)
	}, func(h *Host) string { return idKey(h.ID) })
}

// Get fetches one host by id or host identifier. The answer has no tags and does
// not say whether the host is online. ErrNotFound if there is none.
// API: GET /hosts/{node_id} (REST guide 4.0.0, "Get a host").
func (s *HostsService) Get(ctx context.Context, ref string) (h Host, err error) {
	k, err := callHostsGet.with(ref)
	if err != nil {
		return Host{}, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { h = readHost(v) }))
	if err == nil && h.ID == 0 {
		err = missing(k)
	}
	if err != nil {
		return Host{}, err
	}
	return h, nil
}

// PlatformCount is how many hosts of a platform there are.
type PlatformCount struct {
	Online, Offline int
	Removed         int // release 4.0
}

// Count counts hosts by platform: windows, linux, darwin.
// API: GET /hosts/count (REST guide 4.0.0, "Get count of hosts").
func (s *HostsService) Count(ctx context.Context) (counts map[string]PlatformCount, err error) {
	counts = make(map[string]PlatformCount)
	told := false
	err = s.c.do(ctx, callHostsCount, nil, data(func(v value) {
		told = v.isObject()
		for platform, n := range v.fields() {
			counts[platform] = PlatformCount{
				Online:  n.at("online").count(),
				Offline: n.at("offline").count(),
				Removed: n.at("removed").count(),
			}
		}
	}))
	if err == nil && !told {
		err = lacking(callHostsCount, "the answer has no counts")
	}
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// Tags fetches the tags of a host.
// API: GET /hosts/{node_id}/tags (REST guide 4.0.0, "List tags of a host").
func (s *HostsService) Tags(ctx context.Context, ref string) (tags []string, err error) {
	k, err := callHostsTagsList.with(ref)
	if err != nil {
		return nil, err
	}
	return s.c.tags(ctx, k)
}

// AddTag tags a host, which may have the tag already. It needs the admin role in
// release 4.0.
// API: POST /hosts/{node_id}/tags (REST guide 4.0.0, "Add tags to a host").
func (s *HostsService) AddTag(ctx context.Context, ref, tag string) error {
	k, err := callHostsTagsAdd.with(ref)
	if err != nil {
		return err
	}
	return s.c.tag(ctx, k, tag)
}

// RemoveTag takes a tag off a host, which may not have it.
// API: DELETE /hosts/{node_id}/tags (REST guide 4.0.0, "Remove tags of a host").
func (s *HostsService) RemoveTag(ctx context.Context, ref, tag string) error {
	k, err := callHostsTagsRemove.with(ref)
	if err != nil {
		return err
	}
	return s.c.tag(ctx, k, tag)
}
