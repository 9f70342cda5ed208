package connector

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// onlineWithin is how long after its last check-in a server of the 2.x line takes a
// host for online (POLYLOGYX_CHECKIN_INTERVAL in the public source of release
// 2.1.2).
const onlineWithin = 5 * time.Minute

// allHosts reads all nodes, by id.
func (o *oldAPI) allHosts(ctx context.Context) ([]value, error) {
	list, err := o.nodes(ctx, callV0Nodes)
	slices.SortStableFunc(list, func(a, b value) int { return cmp.Compare(a.at("id").id(), b.at("id").id()) })
	return list, err
}

func (o *oldAPI) nodes(ctx context.Context, k call) (list []value, err error) {
	return o.whole(ctx, k, nil, tidyTags)
}

// statedHosts is allHosts with who is online. The server is asked for those in
// particular; the older ones do not heed that and name all, so the last check-in
// must not be long ago either.
func (o *oldAPI) statedHosts(ctx context.Context) ([]value, error) {
	all, err := o.allHosts(ctx)
	if err != nil {
		return nil, err
	}
	active, err := o.nodes(ctx, callV0Nodes.asking(map[string]string{"state": "true"}))
	if err != nil && !errors.Is(err, ErrRefused) { // nobody is
		return nil, err
	}
	named := make(map[string]bool, len(active))
	for _, v := range active {
		named[v.at("host_identifier").text()] = true
	}
	now := time.Now().Add(o.c.ClockOffset())
	for i, v := range all {
		seen := v.at("last_checkin").time()
		online := named[v.at("host_identifier").text()] && (seen.IsZero() || now.Sub(seen) < onlineWithin)
		all[i] = altered(v, map[string]any{"is_active": online})
	}
	return all, nil
}

// findHost finds a host by id or identifier, as v1 does; v0 knows identifiers only.
func (o *oldAPI) findHost(ctx context.Context, k call, ref string) (value, error) {
	all, err := o.allHosts(ctx)
	if err != nil {
		return value{}, err
	}
	for _, matches := range []func(value) bool{
		func(v value) bool { return v.at("host_identifier").text() == ref },
		func(v value) bool { return v.at("id").text() == ref },
	} {
		if i := slices.IndexFunc(all, matches); i >= 0 {
			return all[i], nil
		}
	}
	return value{}, absentIn(k, "no host "+strconv.Quote(clip(ref, 128)))
}

// identifier is the identifier of the host that a call's path names.
func (o *oldAPI) identifier(ctx context.Context, k call) (string, error) {
	ref := k.parts[0]
	if strings.Trim(ref, "0123456789") != "" {
		return ref, nil
	}
	host, err := o.findHost(ctx, k, ref)
	return host.at("host_identifier").text(), before(k, err)
}

func (o *oldAPI) listHosts(ctx context.Context, k call, in value) (any, error) {
	if err := understood(k, in, "start", "limit", "status", "enabled", "platform", "searchterm", "column", "order_by"); err != nil {
		return nil, err
	}
	if in.has("enabled") && !in.at("enabled").truth() {
		return nil, understood(k, value{v: map[string]any{"enabled": false}}) // v0 tells nothing of removed hosts
	}
	if column := in.at("column").text(); column != "" && column != "host" {
		return nil, understood(k, value{v: map[string]any{"column " + clip(column, 64): true}})
	}
	all, err := o.hosts.page(ctx, "", in.at("start").count(), false, o.statedHosts)
	if err != nil {
		return nil, err
	}
	list := make([]value, 0, len(all))
	for _, v := range all {
		h := NormalizeHost(readHost(v))
		online := h.Online != nil && *h.Online
		if in.has("status") && online != in.at("status").truth() {
			continue
		}
		if platform := in.at("platform").text(); platform != "" && platformOf(h.Platform) != strings.ToLower(platform) {
			continue
		}
		if !mentions(in.at("searchterm").text(), append(h.Tags, h.Name, h.OS, h.IP)...) {
			continue
		}
		list = append(list, v)
	}
	if in.has("column") {
		direction := 1
		if in.at("order_by").text() == "desc" {
			direction = -1
		}
		slices.SortStableFunc(list, func(a, b value) int {
			return direction * strings.Compare(strings.ToLower(readHost(a).Name), strings.ToLower(readHost(b).Name))
		})
	}
	return pageOf(list, in), nil
}

// platformOf is the platform that v1 counts and filters by.
func platformOf(platform string) string {
	switch platform {
	case "windows", "darwin":
		return platform
	}
	return "linux"
}

// mentions reports whether one of texts contains a word, without case. Every list
// mentions the empty word.
func mentions(word string, texts ...string) bool {
	word = strings.ToLower(word)
	return word == "" || slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), word) })
}

func (o *oldAPI) getHost(ctx context.Context, k call, _ value) (any, error) {
	ref := k.parts[0]
	if strings.Trim(ref, "0123456789") == "" {
		host, err := o.findHost(ctx, k, ref)
		return host.v, err
	}
	twin, err := callV0NodesGet.with(ref)
	if err != nil {
		return nil, err
	}
	var host value
	err = o.c.do(ctx, twin, nil, data(func(v value) { host = tidyTags(v) }))
	return host.v, err
}

func (o *oldAPI) countHosts(ctx context.Context, _ call, _ value) (any, error) {
	all, err := o.statedHosts(ctx)
	if err != nil {
		return nil, err
	}
	counts := map[string]PlatformCount{"windows": {}, "linux": {}, "darwin": {}}
	for _, v := range all {
		h := NormalizeHost(readHost(v))
		platform := platformOf(h.Platform)
		n := counts[platform]
		if h.Online != nil && *h.Online {
			n.Online++
		} else {
			n.Offline++
		}
		counts[platform] = n
	}
	data := map[string]any{}
	for platform, n := range counts {
		data[platform] = map[string]any{"online": n.Online, "offline": n.Offline}
	}
	return data, nil
}

// hostTags reads the tags from the node, because the call for them alone came late.
func (o *oldAPI) hostTags(ctx context.Context, k call, in value) (any, error) {
	host, err := o.getHost(ctx, k, in)
	if err != nil {
		return nil, err
	}
	return value{v: host}.at("tags").v, nil
}

func (o *oldAPI) addHostTag(ctx context.Context, k call, in value) (any, error) {
	return nil, o.editHostTags(ctx, k, TagEdit{Add: in.at("tag").texts()})
}

func (o *oldAPI) removeHostTag(ctx context.Context, k call, in value) (any, error) {
	return nil, o.editHostTags(ctx, k, TagEdit{Remove: in.at("tag").texts()})
}

func (o *oldAPI) editHostTags(ctx context.Context, k call, edit TagEdit) error {
	host, err := o.identifier(ctx, k)
	if err != nil {
		return err
	}
	return o.c.V0.EditNodeTags(ctx, host, edit)
}
