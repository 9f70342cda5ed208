package connector

import (
	"context"
	"encoding/json"
	"time"
)

// HostQueryConfig is a query that a host runs by itself.
type HostQueryConfig struct {
	ID          int64
	Name        string
	SQL         string
	Interval    time.Duration
	Platform    string // all, windows, linux, darwin, freebsd, posix or empty
	Version     string // of the agent that it needs
	Description string
	Value       string
	Snapshot    bool // tells the whole result each time, not what changed
	Removed     bool // tells rows that went away too
	Shard       int  // percent of the hosts that run it, 0 for all
	Tags        []string
	Packs       []string
}

// HostPackConfig is a pack that a host has.
type HostPackConfig struct {
	ID        int64
	Name      string
	Platform  string
	Version   string
	Shard     int
	Discovery []string          // queries that decide whether the pack runs
	Queries   []HostQueryConfig // by name
	Tags      []string
}

// AdditionalConfig is what a host gets through its tags.
type AdditionalConfig struct {
	Queries []HostQueryConfig
	Packs   []HostPackConfig
	Tags    []string
}

// FullConfig is all that the agent of a host is told.
type FullConfig struct {
	// ConfigID and ConfigName are the config that the host uses; release 4.0.
	ConfigID   int64
	ConfigName string
	// Options are the options of the agent, as JSON: truth values, numbers and texts.
	Options map[string]json.RawMessage
	// Schedule are the queries outside of packs, by name.
	Schedule []HostQueryConfig
	Packs    []HostPackConfig
	// Other is what else stands there, as JSON: filters and paths, such as
	// win_include_paths and plgx_event_filters. It differs by platform and release.
	Other map[string]json.RawMessage
}

// AdditionalConfig fetches the queries and packs that a host has through its tags.
// ErrNotFound if there is no such host.
//
// API: POST /hosts/additional_config (REST guide 4.0.0, section Hosts).
func (s *HostsService) AdditionalConfig(ctx context.Context, ref string) (config AdditionalConfig, err error) {
	in, err := hostArgument("additional config", ref)
	if err != nil {
		return config, err
	}
	told := false
	err = s.c.do(ctx, callHostsAdditionalConfig, in, data(func(v value) {
		told = v.isObject()
		config = AdditionalConfig{Queries: readQueryConfigs(v.at("queries")), Packs: readPackConfigs(v.at("packs")), Tags: v.at("tags").texts()}
	}))
	if err == nil && !told {
		err = missing(callHostsAdditionalConfig)
	}
	return config, err
}

// FullConfig fetches all that the agent of a host is told. ErrNotFound if there is no
// such host.
//
// API: POST /hosts/config (REST guide 4.0.0, section Hosts).
func (s *HostsService) FullConfig(ctx context.Context, ref string) (config FullConfig, err error) {
	in, err := hostArgument("full config", ref)
	if err != nil {
		return config, err
	}
	told := false
	err = s.c.do(ctx, callHostsFullConfig, in, func(answer value) {
		told = answer.at("data").isObject()
		config = readFullConfig(answer.at("data"))
		config.ConfigID, config.ConfigName = answer.at("config").at("id").id(), answer.at("config").at("name").text()
	})
	if err == nil && !told {
		err = missing(callHostsFullConfig)
	}
	return config, err
}

func readFullConfig(v value) FullConfig {
	config := FullConfig{Options: make(map[string]json.RawMessage), Other: make(map[string]json.RawMessage)}
	for key, inner := range v.fields() {
		switch key {
		case "options":
			for name, option := range inner.fields() {
				config.Options[name] = encode(option.v)
			}
		case "schedule", "queries": // the latter before release 4.0
			config.Schedule = append(config.Schedule, readQueryConfigs(inner)...)
		case "packs":
			config.Packs = readPackConfigs(inner)
		default:
			if raw := inner.raw(); raw != nil {
				config.Other[key] = raw
			}
		}
	}
	return config
}

// readQueryConfigs reads an array of queries, or an object of them by name.
func readQueryConfigs(v value) (list []HostQueryConfig) {
	for q := range v.items() {
		if q.isObject() {
			list = append(list, readQueryConfig(q.at("name").text(), q))
		}
	}
	for name, q := range v.fields() {
		if q.isObject() {
			list = append(list, readQueryConfig(name, q))
		}
	}
	return list
}

func readQueryConfig(name string, v value) HostQueryConfig {
	return HostQueryConfig{
		ID:          v.at("id").id(),
		Name:        name,
		SQL:         first(v.at("query"), v.at("sql")),
		Interval:    v.at("interval").seconds(),
		Platform:    v.at("platform").text(),
		Version:     v.at("version").text(),
		Description: v.at("description").text(),
		Value:       v.at("value").text(),
		Snapshot:    v.at("snapshot").truth(),
		Removed:     v.at("removed").truth(),
		Shard:       v.at("shard").count(),
		Tags:        v.at("tags").texts(),
		Packs:       v.at("packs").texts(),
	}
}

// readPackConfigs reads an array of packs, or an object of them by name.
func readPackConfigs(v value) (list []HostPackConfig) {
	read := func(name string, p value) {
		if !p.isObject() {
			return
		}
		list = append(list, HostPackConfig{
			ID: p.at("id").id(), Name: name, Platform: p.at("platform").text(), Version: p.at("version").text(), Shard: p.at("shard").count(),
			Discovery: p.at("discovery").texts(), Queries: readQueryConfigs(p.at("queries")), Tags: p.at("tags").texts(),
		})
	}
	for p := range v.items() {
		read(p.at("name").text(), p)
	}
	for name, p := range v.fields() {
		read(name, p)
	}
	return list
}
