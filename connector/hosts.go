package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
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
	State      int   // 0 active, 1 removed, 2 deleted (release 4.0)

	LastCheckin, EnrolledOn, LastStatus, LastResult, LastConfig time.Time

	// Details is host_details as the server keeps it: agent versions, security
	// products. nil if empty.
	Details json.RawMessage
}

func decodeHost(d *decoder, h *Host) bool {
	return d.object(func(key string) {
		switch key {
		case "id":
			h.ID = d.id()
		case "host_identifier":
			h.Identifier = d.text()
		case "display_name", "hostname":
			if name := d.text(); name != "" {
				h.Name = name
			}
		case "platform":
			if platform := d.word(); platform != "" {
				h.Platform = platform
			}
		case "os_info": // null and {} before the agent told
			d.object(func(key string) {
				switch key {
				case "name":
					h.OSName = d.word()
				case "version":
					h.OSVersion = d.word()
				case "platform":
					if platform := d.word(); h.Platform == "" {
						h.Platform = platform
					}
				default:
					d.skip()
				}
			})
		case "node_info":
			d.object(func(key string) {
				if key == "computer_name" {
					if name := d.text(); h.Name == "" {
						h.Name = name
					}
					return
				}
				d.skip()
			})
		case "network_info":
			h.MAC = macAddress(d, h.MAC)
		case "last_ip":
			h.LastIP = d.text()
		case "tags":
			h.Tags = d.texts()
		case "is_active":
			h.Online = d.boolean()
		case "alerts_count":
			h.AlertCount = d.count()
		case "state":
			h.State = d.count()
		case "last_checkin":
			h.LastCheckin = d.time()
		case "enrolled_on":
			h.EnrolledOn = d.time()
		case "last_status":
			h.LastStatus = d.time()
		case "last_result":
			h.LastResult = d.time()
		case "last_config":
			h.LastConfig = d.time()
		case "host_details":
			if details := d.raw(); !emptyRaw(details) {
				h.Details = details
			}
		default:
			d.skip()
		}
	})
}

// macAddress reads network_info: {} at first, later an array of interfaces; an
// object with mac_address on old servers. The first real address counts.
func macAddress(d *decoder, known string) string {
	one := func() {
		d.object(func(key string) {
			switch key {
			case "mac", "mac_address":
				if mac := d.text(); known == "" && mac != "00:00:00:00:00:00" {
					known = mac
				}
			default:
				d.skip()
			}
		})
	}
	if d.peek() == '[' {
		d.array(one)
	} else {
		one()
	}
	return known
}

func hostRow(d *decoder, h *Host) error {
	switch {
	case !decodeHost(d, h):
		return errNotObject
	case h.ID == 0:
		return errors.New("host without id")
	}
	return nil
}

// HostQuery filters the host list. Empty fields filter nothing.
type HostQuery struct {
	Online   *bool
	Platform string // windows, linux (all but windows and darwin) or darwin
	// Enabled chooses active or removed hosts. nil is both in release 4.0 and the
	// active ones before.
	Enabled *bool
	Search  string // host name, OS name, address, tag
	Column  string // host, state, health, os or last_ip
	Desc    bool
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of hosts. Rows without an id are in Page.Malformed.
// API: POST /hosts (REST guide 4.0.0, "View hosts").
func (s *HostsService) Page(ctx context.Context, q HostQuery) (page Page[Host], err error) {
	in := map[string]any{"start": q.Start, "limit": pageSize(q.Limit)}
	if q.Online != nil {
		in["status"] = *q.Online // must be a JSON boolean: the text "false" counts as true
	}
	if q.Enabled != nil {
		in["enabled"] = *q.Enabled
	}
	set(in, "platform", q.Platform)
	set(in, "searchterm", q.Search)
	order(in, q.Column, q.Desc)
	err = s.c.do(ctx, hostsList, in, data(func(d *decoder) { page = rows(d, hostRow) }))
	return page, err
}

// List walks through all hosts from q.Start on, q.Limit at a time.
func (s *HostsService) List(ctx context.Context, q HostQuery) iter.Seq2[Host, error] {
	first := q.Start
	return list(ctx, q.Limit, func(ctx context.Context, start, limit int) (Page[Host], error) {
		q.Start, q.Limit = first+start, limit
		return s.Page(ctx, q)
	}, func(h *Host) string { return strconv.FormatInt(h.ID, 10) })
}

// Get fetches one host by id or host identifier. The answer has no tags and does
// not say whether the host is online. ErrNotFound if there is none.
// API: GET /hosts/{node_id} (REST guide 4.0.0, "Get a host").
func (s *HostsService) Get(ctx context.Context, ref string) (h Host, err error) {
	k, err := hostsGet.with(ref)
	if err != nil {
		return Host{}, err
	}
	err = s.c.do(ctx, k, nil, data(func(d *decoder) { decodeHost(d, &h) }))
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
	err = s.c.do(ctx, hostsCount, nil, data(func(d *decoder) {
		d.object(func(platform string) {
			var n PlatformCount
			d.object(func(key string) {
				switch key {
				case "online":
					n.Online = d.count()
				case "offline":
					n.Offline = d.count()
				case "removed":
					n.Removed = d.count()
				default:
					d.skip()
				}
			})
			counts[platform] = n
		})
	}))
	return counts, err
}

// Tags fetches the tags of a host.
// API: GET /hosts/{node_id}/tags (REST guide 4.0.0, "List tags of a host").
func (s *HostsService) Tags(ctx context.Context, ref string) (tags []string, err error) {
	k, err := hostsTagsList.with(ref)
	if err != nil {
		return nil, err
	}
	err = s.c.do(ctx, k, nil, data(func(d *decoder) { tags = d.texts() }))
	return tags, err
}

// AddTag tags a host, which may have the tag already. It needs the admin role in
// release 4.0.
// API: POST /hosts/{node_id}/tags (REST guide 4.0.0, "Add tags to a host").
func (s *HostsService) AddTag(ctx context.Context, ref, tag string) error {
	return s.tag(ctx, hostsTagsAdd, ref, tag)
}

// RemoveTag takes a tag off a host, which may not have it.
// API: DELETE /hosts/{node_id}/tags (REST guide 4.0.0, "Remove tags of a host").
func (s *HostsService) RemoveTag(ctx context.Context, ref, tag string) error {
	return s.tag(ctx, hostsTagsRemove, ref, tag)
}

func (s *HostsService) tag(ctx context.Context, k call, ref, tag string) error {
	if err := CheckTag(tag); err != nil {
		return err
	}
	k, err := k.with(ref)
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, map[string]any{"tag": tag}, nil)
}

// CheckTag reports what is wrong with a tag: the server takes up to 63 letters,
// digits and any of _ @ . - and answers success to some others without effect.
func CheckTag(tag string) error {
	if tag == "" || len(tag) > 63 {
		return fmt.Errorf("tag %q: %w: 1 to 63 characters", clip(tag, 80), ErrInvalid)
	}
	for i := range len(tag) {
		switch c := tag[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '@', c == '.', c == '-':
		default:
			return fmt.Errorf("tag %q: %w: only letters, digits and _ @ . - are allowed", tag, ErrInvalid)
		}
	}
	return nil
}
