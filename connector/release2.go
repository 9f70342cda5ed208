package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Release2Service holds calls of the releases 2.1.2 to 3.5 that the guide of 4.0 no
// longer has. Release 4.0 answers HTTP 410, which is ErrUnavailable; ConfigsService
// and ManagementService have what took their place.
type Release2Service struct {
	c    *Client
	turn turn
}

// Options fetches the options that all agents get, by name.
// API: GET /options (public source of release 2.1.2).
func (s *Release2Service) Options(ctx context.Context) (options map[string]json.RawMessage, err error) {
	isObject := false
	err = s.c.do(ctx, callOptionsGet, nil, func(answer value) {
		v := answer.at("data")
		// Release 2.1.2 drops empty data.
		isObject = v.isObject() || !answer.has("data")
		options = make(map[string]json.RawMessage)
		for name, one := range v.fields() {
			options[name] = encode(one.v)
		}
	})
	if err == nil && !isObject {
		err = lacking(callOptionsGet, "the answer holds no options")
	}
	if err != nil {
		return nil, err
	}
	return options, nil
}

// SetOptions replaces all options: what options does not have is gone. It needs the
// consent ReplaceEverything. MergeOptions changes some.
// API: POST /options/add (public source of release 2.1.2).
func (s *Release2Service) SetOptions(ctx context.Context, options map[string]any, consent Consent) error {
	if err := consent.must(ReplaceEverything, "set options"); err != nil {
		return err
	}
	if len(options) == 0 {
		return fmt.Errorf("set options: %w: there are none; agents would be left without any", ErrInvalid)
	}
	return s.c.do(ctx, callOptionsAdd, map[string]any{"option": options}, nil)
}

// MergeOptions reads the options, sets some, and writes all back. What somebody else
// sets between reading and writing is lost; changes by one Client wait for each other.
func (s *Release2Service) MergeOptions(ctx context.Context, some map[string]any) error {
	if len(some) == 0 {
		return fmt.Errorf("merge options: %w: there are none", ErrInvalid)
	}
	release, err := s.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	have, err := s.Options(ctx)
	if err != nil {
		return fmt.Errorf("merge options: read: %w", err)
	}
	all := make(map[string]any, len(have)+len(some))
	for name, one := range have {
		all[name] = one
	}
	maps.Copy(all, some)
	return s.SetOptions(ctx, all, ReplaceEverything)
}

// DeleteResults deletes the results of scheduled queries that are older than some
// days. It needs the consent PurgeOldData.
// API: POST /queryresult/delete (public source of release 2.1.2).
func (s *Release2Service) DeleteResults(ctx context.Context, olderThanDays int, consent Consent) error {
	const maxDays = 100_000 // the server's calendar ends before 1,000,000
	if err := consent.must(PurgeOldData, "delete results"); err != nil {
		return err
	}
	if olderThanDays < 1 || olderThanDays > maxDays {
		return fmt.Errorf("delete results: %w: older than %d days; 1 to %d", ErrInvalid, olderThanDays, maxDays)
	}
	return s.c.do(ctx, callQueryresultDelete, map[string]any{"days_of_data": olderThanDays}, nil)
}

// OldConfigKey names a config of the releases 2.x.
type OldConfigKey struct {
	Platform string // windows, linux or darwin
	Arch     string // x86 or x86_64, as empty
	// Type is default, shallow or deep. 64-bit Windows has the last two, everything
	// else default only.
	Type string
}

// OldConfig is a config of the releases 2.x.
type OldConfig struct {
	OldConfigKey
	// Active is set for the one of its platform and architecture that hosts use.
	Active  bool
	Queries map[string]ConfigQuery
	// Filters is a JSON object; nil if empty.
	Filters json.RawMessage
}

var (
	oldArchs = []string{"x86", "x86_64"}
	oldTypes = []string{"default", "shallow", "deep"}
)

func (k OldConfigKey) String() string { return k.Platform + " " + k.Arch + " " + k.Type }

// whole refuses what the server does not know, and fills the architecture in.
func (k OldConfigKey) whole(call string, withType bool) (OldConfigKey, error) {
	if k.Arch == "" {
		k.Arch = "x86_64"
	}
	err := errors.Join(needed(call, "platform", k.Platform), inSet(call, "platform", k.Platform, configPlatforms...),
		inSet(call, "arch", k.Arch, oldArchs...), inSet(call, "type", k.Type, oldTypes...))
	if withType {
		err = errors.Join(err, needed(call, "type", k.Type))
	}
	return k, err
}

// Configs fetches all configs.
// API: GET /configs/all (public source of release 2.1.2).
func (s *Release2Service) Configs(ctx context.Context) (configs []OldConfig, err error) {
	isObject := false
	err = s.c.do(ctx, callConfigsAll, nil, func(answer value) {
		v := answer.at("data")
		isObject = v.isObject() || !answer.has("data") // release 2.1.2 drops empty data
		for platform, archs := range v.fields() {
			for arch, types := range archs.fields() {
				for kind, one := range types.fields() {
					configs = append(configs, readOldConfig(OldConfigKey{platform, arch, oldType(kind)}, one))
				}
			}
		}
	})
	if err == nil && !isObject {
		err = lacking(callConfigsAll, "the answer holds no configs")
	}
	if err != nil {
		return nil, err
	}
	return configs, nil
}

func readOldConfig(key OldConfigKey, v value) OldConfig {
	return OldConfig{key, v.at("status").truth(), readConfigQueries(v.at("queries")), v.at("filters").raw()}
}

// oldType names a type that may be told by its number.
func oldType(text string) string {
	if len(text) == 1 && text >= "0" && text <= "2" {
		return oldTypes[text[0]-'0']
	}
	return text
}

// Config fetches the config of a platform and architecture that is active; key's
// type has no say. ErrNotFound if there is none.
// API: POST /configs/view (public source of release 2.1.2).
func (s *Release2Service) Config(ctx context.Context, key OldConfigKey) (c OldConfig, err error) {
	key, err = key.whole("view config", false)
	if err != nil {
		return OldConfig{}, err
	}
	whole := false
	err = s.c.do(ctx, callConfigsView, map[string]any{"platform": key.Platform, "arch": key.Arch}, data(func(v value) {
		key.Type = oldType(v.at("type").text())
		c, whole = readOldConfig(key, v), v.at("queries").isObject()
	}))
	if err == nil && !whole {
		err = missing(callConfigsView)
	}
	if err != nil {
		return OldConfig{}, err
	}
	c.Active = true // no other is shown
	return c, nil
}

// HostConfig fetches all that a host's agent is told, by host identifier: options,
// queries, packs, file paths and filters, as the server keeps it. ErrNotFound if
// there is no such host.
// API: POST /configs/view (public source of release 2.1.2).
func (s *Release2Service) HostConfig(ctx context.Context, host string) (config json.RawMessage, err error) {
	if strings.TrimSpace(host) == "" {
		return nil, fmt.Errorf("view config: %w", ErrEmptyTarget)
	}
	err = s.c.do(ctx, callConfigsView, map[string]any{"host_identifier": host}, data(func(v value) { config = v.raw() }))
	if err == nil && config == nil {
		err = missing(callConfigsView)
	}
	return config, err
}

// UpdateConfig changes a config: filters are replaced, and queries of the config get
// another interval and state. Those that are not named stay; the server passes over
// those that the config does not have. The type default means the active config.
// ModifyConfig notices.
// API: POST /configs/update (public source of release 2.1.2).
func (s *Release2Service) UpdateConfig(ctx context.Context, key OldConfigKey, queries map[string]ConfigQuery, filters json.RawMessage) error {
	const call = "update config"
	key, err := key.whole(call, true)
	if err := errors.Join(err, objectOrNothing(call, "filters", filters)); err != nil {
		return err
	}
	if len(filters) == 0 {
		return fmt.Errorf("%s: %w: filters are replaced; give them, or {} for none", call, ErrInvalid)
	}
	sent := make(map[string]any, len(queries))
	for name, q := range queries {
		seconds, err := intervalOf(call, name, q.Interval)
		if err != nil {
			return err
		}
		sent[name] = map[string]any{"status": q.Enabled, "interval": seconds}
	}
	return s.c.do(ctx, callConfigsUpdateOld, map[string]any{
		"platform": key.Platform, "arch": key.Arch, "type": key.Type, "queries": sent, "filters": filters,
	}, nil)
}

// ModifyConfig reads a config, lets change change filters and intervals and states of
// its queries, and writes that back. Other changes are ErrInvalid and nothing is
// written; so it is when change has an error. What somebody else does to filters
// between reading and writing is lost; changes by one Client wait for each other, so
// change must not make one.
func (s *Release2Service) ModifyConfig(ctx context.Context, key OldConfigKey, change func(*OldConfig) error) (OldConfig, error) {
	const call = "modify config"
	release, err := s.turn.take(ctx)
	if err != nil {
		return OldConfig{}, err
	}
	defer release()
	before, err := s.find(ctx, call, key)
	if err != nil {
		return OldConfig{}, err
	}
	if before.Type == "default" && !before.Active {
		return OldConfig{}, fmt.Errorf("%s: %w: %v is not active, and the server would change the one that is", call, ErrInvalid, before)
	}
	after := before
	after.Queries, after.Filters = maps.Clone(before.Queries), slices.Clone(before.Filters)
	if err := change(&after); err != nil {
		return OldConfig{}, fmt.Errorf("%s: %w", call, err)
	}
	if after.OldConfigKey != before.OldConfigKey || after.Active != before.Active || len(after.Queries) != len(before.Queries) {
		return OldConfig{}, fmt.Errorf("%s: %w: only filters, intervals and states can be changed", call, ErrInvalid)
	}
	changed := make(map[string]ConfigQuery)
	for name, q := range after.Queries {
		old, ok := before.Queries[name]
		if old == q && ok {
			continue
		}
		old.Enabled, old.Interval = q.Enabled, q.Interval
		if !ok || old != q {
			return OldConfig{}, fmt.Errorf("%s: %w: of query %q only interval and state can be changed", call, ErrInvalid, clip(name, 80))
		}
		changed[name] = q
	}
	filters := after.Filters
	if len(bytes.TrimSpace(filters)) == 0 {
		filters = json.RawMessage("{}")
	}
	if err := s.UpdateConfig(ctx, after.OldConfigKey, changed, filters); err != nil {
		return OldConfig{}, err
	}
	return after, nil
}

// ToggleConfig makes a config the active one of its platform and architecture. It
// reads the configs before: the server would leave hosts without any config if it
// does not have that one; such a key is ErrNotFound here.
// API: PUT /configs/toggle (public source of release 2.1.2).
func (s *Release2Service) ToggleConfig(ctx context.Context, key OldConfigKey) error {
	found, err := s.find(ctx, "toggle config", key)
	if err != nil {
		return err
	}
	return s.c.do(ctx, callConfigsToggle, map[string]any{"platform": found.Platform, "arch": found.Arch, "type": found.Type}, nil)
}

// find looks a config up among all.
func (s *Release2Service) find(ctx context.Context, call string, key OldConfigKey) (OldConfig, error) {
	key, err := key.whole(call, true)
	if err != nil {
		return OldConfig{}, err
	}
	configs, err := s.Configs(ctx)
	if err != nil {
		return OldConfig{}, fmt.Errorf("%s: read: %w", call, err)
	}
	names := make([]string, 0, len(configs))
	for _, c := range configs {
		if c.OldConfigKey == key {
			return c, nil
		}
		names = append(names, c.String())
	}
	return OldConfig{}, fmt.Errorf("%s: %w: there is no %v; there are %s", call, ErrNotFound, key, strings.Join(names, ", "))
}
