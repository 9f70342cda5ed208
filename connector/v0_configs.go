package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// V0Config is a config of the oldest releases: any JSON object under a name.
type V0Config struct {
	ID                   int64
	Name                 string
	Config               json.RawMessage // nil if empty
	CreatedAt, UpdatedAt time.Time       // zero where the server does not tell
}

func v0ConfigRow(v value) (V0Config, error) {
	c := V0Config{
		ID: v.at("id").id(), Name: v.at("name").text(), Config: v.at("config").raw(),
		CreatedAt: v.at("created_at").time(), UpdatedAt: v.at("updated_at").time(),
	}
	return c, needID(v, c.ID, "config")
}

// V0Configs are the configs of a server, in one of two ways.
type V0Configs struct {
	// Configs are those of the oldest releases.
	Configs Page[V0Config]
	// Platforms are those of later releases, by platform, as the server has them.
	Platforms map[string]json.RawMessage
}

// Configs fetches all configs.
// API v0: GET /configs (guide of API v0, "Get All Available Configs from Server").
func (s *V0Service) Configs(ctx context.Context) (all V0Configs, err error) {
	err = s.c.do(ctx, callV0Configs, nil, data(func(v value) {
		all.Configs = rows(v, v0ConfigRow)
		for platform, configs := range v.fields() {
			if all.Platforms == nil {
				all.Platforms = make(map[string]json.RawMessage)
			}
			all.Platforms[platform] = configs.raw()
		}
	}))
	return all, err
}

// Config fetches one config by id. ErrNotFound if there is none. The oldest releases
// only.
// API v0: GET /configs/{config_id} (guide of API v0, contents).
func (s *V0Service) Config(ctx context.Context, id int64) (V0Config, error) {
	k, err := callV0ConfigsGet.with(strconv.FormatInt(id, 10))
	if err != nil {
		return V0Config{}, err
	}
	return v0One(ctx, s, k, nil, v0ConfigRow)
}

// AddConfig adds a config, a JSON object, and returns its id. The oldest releases
// only.
// API v0: POST /configs/add (guide of API v0, contents).
func (s *V0Service) AddConfig(ctx context.Context, name string, config json.RawMessage) (id int64, err error) {
	in, err := v0ConfigInput("add config", name, config)
	if err != nil {
		return 0, err
	}
	return s.made(ctx, callV0ConfigsAdd, in, "config_id")
}

// UpdateConfig replaces name and content of a config. The oldest releases only.
// API v0: POST /configs/{config_id} (guide of API v0, contents).
func (s *V0Service) UpdateConfig(ctx context.Context, id int64, name string, config json.RawMessage) (V0Config, error) {
	in, err := v0ConfigInput("update config", name, config)
	if err != nil {
		return V0Config{}, err
	}
	k, err := callV0ConfigsUpdate.with(strconv.FormatInt(id, 10))
	if err != nil {
		return V0Config{}, err
	}
	return v0One(ctx, s, k, in, v0ConfigRow)
}

func v0ConfigInput(what, name string, config json.RawMessage) (map[string]any, error) {
	if strings.TrimSpace(name) == "" {
		return nil, fmt.Errorf("%s: %w: it has no name", what, ErrInvalid)
	}
	if err := jsonObject(what+": config", config); err != nil {
		return nil, err
	}
	return map[string]any{"name": name, "config": config}, nil
}

// jsonObject refuses a text that is no JSON object.
func jsonObject(what string, text json.RawMessage) error {
	if v, err := parse(text); err != nil || !v.isObject() || !json.Valid(text) {
		return fmt.Errorf("%s: %w: not a JSON object", what, ErrInvalid)
	}
	return nil
}

// NodeConfig fetches all that the agent of a host is told. The oldest releases only.
// API v0: GET /nodes/config/{host_identifier} (guide of API v0, contents).
func (s *V0Service) NodeConfig(ctx context.Context, host string) (FullConfig, error) {
	k, err := callV0NodeConfig.with(host)
	if err != nil {
		return FullConfig{}, err
	}
	return v0One(ctx, s, k, nil, func(v value) (FullConfig, error) {
		if !v.isObject() {
			return FullConfig{}, errNotObject
		}
		return readFullConfig(v), nil
	})
}

// AssignNodeConfig gives a host (identifier) a config. The oldest releases only.
// API v0: POST /nodes/config/assign (guide of API v0, "Assign a Config to a node").
func (s *V0Service) AssignNodeConfig(ctx context.Context, host string, configID int64) error {
	if host == "" {
		return fmt.Errorf("assign config: %w", ErrEmptyTarget)
	}
	return s.c.do(ctx, callV0NodeConfigAssign, map[string]any{"host_identifier": host, "config_id": configID}, nil)
}

// RemoveNodeConfig takes the config that a host was given away. The oldest releases
// only.
// API v0: POST /nodes/config/remove (guide of API v0, "Remove a Config from a node").
func (s *V0Service) RemoveNodeConfig(ctx context.Context, host string) error {
	if host == "" {
		return fmt.Errorf("remove config: %w", ErrEmptyTarget)
	}
	return s.c.do(ctx, callV0NodeConfigRemove, map[string]any{"host_identifier": host}, nil)
}

// PlatformConfig fetches the config that the hosts of a platform use: windows, linux
// or darwin. ErrNotFound if there is none. Release 2.1.2 does not have the call.
// API v0: GET /configs/{platform} (guide of API v0, "Get Details for Specific Config
// from Server").
func (s *V0Service) PlatformConfig(ctx context.Context, platform string) (OldConfig, error) {
	key := OldConfigKey{Platform: platform}
	if err := inSet("platform config", "platform", platform, configPlatforms...); err != nil {
		return OldConfig{}, err
	}
	k, err := callV0ConfigsPlatformGet.with(platform)
	if err != nil {
		return OldConfig{}, err
	}
	return v0One(ctx, s, k, nil, func(v value) (OldConfig, error) { return platformConfig(key, v) })
}

// platformConfig reads a config, which some documents have below its platform.
func platformConfig(key OldConfigKey, v value) (OldConfig, error) {
	if inner := v.at(key.Platform); inner.isObject() {
		v = inner
	}
	if !v.at("queries").isObject() {
		return OldConfig{}, errNotObject
	}
	return OldConfig{OldConfigKey: key, Active: true, Queries: readConfigQueries(v.at("queries")), Filters: v.at("filters").raw()}, nil
}

// UpdatePlatformConfig changes a config and brings it into use: Filters replace what
// is there, of Queries state and interval are set, and those that are not named
// stay. Arch and Type may be empty.
// API v0: PUT /configs/{platform} (public source of release 2.1.2; the guide has
// POST).
func (s *V0Service) UpdatePlatformConfig(ctx context.Context, config OldConfig) (OldConfig, error) {
	const what = "update platform config"
	if err := errors.Join(needed(what, "platform", config.Platform), inSet(what, "platform", config.Platform, configPlatforms...),
		inSet(what, "arch", config.Arch, oldArchs...), inSet(what, "type", config.Type, oldTypes...)); err != nil {
		return OldConfig{}, err
	}
	filters := config.Filters
	if filters == nil {
		filters = json.RawMessage("{}")
	}
	if err := jsonObject(what+": filters", filters); err != nil {
		return OldConfig{}, err
	}
	queries := map[string]any{}
	for name, q := range config.Queries {
		seconds, err := intervalOf(what, name, q.Interval)
		if err != nil {
			return OldConfig{}, err
		}
		queries[name] = map[string]any{"status": q.Enabled, "interval": seconds}
	}
	in := map[string]any{"filters": filters, "queries": queries}
	set(in, "arch", config.Arch)
	set(in, "type", config.Type)
	k, err := callV0ConfigsPlatformUpdate.with(config.Platform)
	if err != nil {
		return OldConfig{}, err
	}
	return v0One(ctx, s, k, in, func(v value) (OldConfig, error) { return platformConfig(config.OldConfigKey, v) })
}
