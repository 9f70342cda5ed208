package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// ConfigsService is the section "Config" of the REST guide, as of release 3.5: what
// agents run by themselves and what they watch, by platform. Releases 2.x have the
// calls of Release2Service in its place.
type ConfigsService struct {
	c    *Client
	turn turn
}

// Config is a set of queries and filters for the hosts of a platform.
type Config struct {
	ID       int64
	Name     string
	Platform string // windows, linux or darwin; list only
	// Default is set for the config of hosts that have no other; list only. There is
	// one for each platform, and of it only queries and filters can be changed.
	Default     bool
	Description string
	// Conditions choose the hosts that get the config when they enrol.
	Conditions ConfigConditions
	// Queries are by name. All configs of a platform choose from those of its default.
	Queries map[string]ConfigQuery
	// Filters is a JSON object of agent options and of what to watch and to leave
	// out, as the server keeps it; nil if empty.
	Filters json.RawMessage
}

// ConfigConditions choose hosts by what their names hold. Empty ones choose none.
type ConfigConditions struct {
	Hostname, OSName string
	// Others are conditions that this client does not know, as the server keeps them.
	Others map[string]json.RawMessage
}

// ConfigQuery is a query of a config.
type ConfigQuery struct {
	Enabled  bool
	Interval time.Duration // between two runs; whole seconds
	// SQL and what follows is told by the list only.
	SQL         string
	Description string
	// Snapshot makes each run tell all rows, not only what came and went.
	Snapshot bool
}

func readConfig(v value) Config {
	return Config{
		ID:          v.at("id").id(),
		Default:     v.at("is_default").truth(),
		Name:        v.at("name").text(),
		Description: v.at("description").text(),
		Conditions:  readConditions(v.at("conditions")),
		Queries:     readConfigQueries(v.at("queries")),
		Filters:     v.at("filters").raw(),
	}
}

func readConditions(v value) (c ConfigConditions) {
	for key, one := range v.fields() {
		text, isText := one.at("value").v.(string)
		switch {
		case isText && key == "hostname":
			c.Hostname = text
		case isText && key == "os_name":
			c.OSName = text
		default:
			if c.Others == nil {
				c.Others = make(map[string]json.RawMessage)
			}
			c.Others[key] = encode(one.v)
		}
	}
	return c
}

func readConfigQueries(v value) map[string]ConfigQuery {
	queries := make(map[string]ConfigQuery)
	for name, one := range v.fields() {
		queries[name] = ConfigQuery{
			Enabled:     one.at("status").truth(),
			Interval:    one.at("interval").seconds(),
			SQL:         one.at("query").text(),
			Description: one.at("description").text(),
			Snapshot:    one.at("snapshot").truth(),
		}
	}
	return queries
}

// seconds is a whole number of seconds; 0 for what is not one or is absurd.
func (v value) seconds() time.Duration {
	n, ok := v.integer()
	if !ok || n < 0 || n > maxInterval {
		return 0
	}
	return time.Duration(n) * time.Second
}

// maxInterval is the largest number of seconds that the server's database takes.
const maxInterval = 1<<31 - 1

// intervalOf is an interval as the server wants it.
func intervalOf(call, query string, d time.Duration) (int64, error) {
	if d <= 0 || d%time.Second != 0 || d > maxInterval*time.Second {
		return 0, fmt.Errorf("%s: %w: interval %v of query %q: a whole number of seconds, from 1 to %d",
			call, ErrInvalid, d, clip(query, 80), maxInterval)
	}
	return int64(d / time.Second), nil
}

// in is what the server is sent, {} for no conditions.
func (c ConfigConditions) in() map[string]any {
	in := make(map[string]any)
	for key, one := range c.Others {
		in[key] = one
	}
	if c.Hostname != "" {
		in["hostname"] = map[string]string{"value": c.Hostname}
	}
	if c.OSName != "" {
		in["os_name"] = map[string]string{"value": c.OSName}
	}
	return in
}

// check refuses what the server refuses: conditions without host name and OS name.
func (c ConfigConditions) check(call string) error {
	if len(c.Others) > 0 && c.Hostname == "" && c.OSName == "" {
		return fmt.Errorf("%s: %w: the server takes other conditions beside hostname or os_name only", call, ErrInvalid)
	}
	return nil
}

// List gives all configs, by platform and name. A config that cannot be read is
// given as a *MalformedError.
// API: GET /configs (REST guide 4.0.0, "Get a list of all configs").
func (s *ConfigsService) List(ctx context.Context) iter.Seq2[Config, error] {
	return func(yield func(Config, error) bool) {
		var all value
		err := s.c.do(ctx, callConfigsList, nil, data(func(v value) { all = v }))
		if err == nil && !all.isObject() {
			err = lacking(callConfigsList, "the answer holds no configs")
		}
		if err != nil {
			yield(Config{}, err)
			return
		}
		for platform, named := range all.fields() {
			if !named.isObject() && named.raw() != nil {
				bad := &MalformedError{Reason: "no configs by name for platform " + clip(oneLine(platform), 80), Raw: clipBytes(encode(named.v), maxMalformed)}
				if !yield(Config{}, bad) {
					return
				}
			}
			for name, one := range named.fields() {
				c, err := readConfig(one), error(nil)
				c.Platform, c.Name = platform, name
				if c.ID == 0 {
					c, err = Config{}, &MalformedError{Reason: "config without id", Raw: clipBytes(encode(one.v), maxMalformed)}
				}
				if !yield(c, err) {
					return
				}
			}
		}
	}
}

// Get fetches one config: of its queries interval and state only, and neither
// platform nor whether it is a default. ErrNotFound if there is none.
// API: GET /configs/{config_id} (REST guide 4.0.0, "Get a config").
func (s *ConfigsService) Get(ctx context.Context, id int64) (c Config, err error) {
	k, err := callConfigsGet.withID(id)
	if err != nil {
		return Config{}, err
	}
	whole := false
	err = s.c.do(ctx, k, nil, data(func(v value) {
		c = readConfig(v)
		whole = v.at("queries").isObject() || c.Name != ""
	}))
	if err == nil && !whole {
		err = missing(k)
	}
	if err != nil {
		return Config{}, err
	}
	c.ID = id // the answer does not repeat it
	return c, nil
}

// NewConfig is a config to add.
type NewConfig struct {
	Name        string
	Platform    string // windows, linux or darwin
	Description string
	Conditions  ConfigConditions
	// Queries are some of those of the platform's default config, by name. What
	// has no SQL takes SQL, description and snapshot from there, and what has no
	// interval takes that as well.
	Queries map[string]ConfigQuery
	// Filters is a JSON object; may be empty.
	Filters json.RawMessage
}

var configPlatforms = []string{"windows", "linux", "darwin"}

// Add adds a config and returns its id. It reads the platform's default config
// before, because the server leaves out queries which that does not have, and
// breaks at those without SQL; such queries are ErrInvalid here. A sixth config of
// a platform and a name that is taken are ErrRefused. It needs the admin role.
// API: POST /configs (REST guide 4.0.0, "Add a config").
func (s *ConfigsService) Add(ctx context.Context, n NewConfig) (id int64, err error) {
	const call = "add config"
	if err := errors.Join(plainName(call, n.Name), needed(call, "platform", n.Platform),
		inSet(call, "platform", n.Platform, configPlatforms...), n.Conditions.check(call), objectOrNothing(call, "filters", n.Filters)); err != nil {
		return 0, err
	}
	std, err := s.find(ctx, func(c Config) bool { return c.Default && c.Platform == n.Platform })
	if err != nil {
		return 0, fmt.Errorf("%s: find the default config of %s: %w", call, n.Platform, err)
	}
	in := map[string]any{"name": n.Name, "platform": n.Platform, "conditions": n.Conditions.in()}
	set(in, "description", n.Description)
	if len(n.Filters) > 0 {
		in["filters"] = n.Filters
	}
	if in["queries"], err = newQueries(call, n.Queries, std); err != nil {
		return 0, err
	}
	err = s.c.do(ctx, callConfigsAdd, in, data(func(v value) { id = v.id() }))
	if err == nil && id == 0 {
		err = lacking(callConfigsAdd, "the answer holds no id")
	}
	return id, err
}

// newQueries completes queries from the default config.
func newQueries(call string, queries map[string]ConfigQuery, std Config) (map[string]any, error) {
	in := make(map[string]any, len(queries))
	for name, q := range queries {
		known, ok := std.Queries[name]
		if !ok {
			return nil, fmt.Errorf("%s: %w: the default config of %s has no query %q; it has %s",
				call, ErrInvalid, std.Platform, clip(name, 80), strings.Join(slices.Sorted(maps.Keys(std.Queries)), ", "))
		}
		if q.SQL == "" {
			q.SQL, q.Description, q.Snapshot = known.SQL, known.Description, known.Snapshot
		}
		if q.Interval == 0 {
			q.Interval = known.Interval
		}
		seconds, err := intervalOf(call, name, q.Interval)
		if err != nil {
			return nil, err
		}
		one := map[string]any{"query": q.SQL, "interval": seconds, "status": q.Enabled, "snapshot": q.Snapshot}
		set(one, "description", q.Description)
		in[name] = one
	}
	return in, nil
}

// find looks a config up in the list.
func (s *ConfigsService) find(ctx context.Context, wanted func(Config) bool) (Config, error) {
	for c, err := range s.List(ctx) {
		if _, malformed := errors.AsType[*MalformedError](err); malformed {
			continue
		}
		if err != nil || wanted(c) {
			return c, err
		}
	}
	k := callConfigsList
	return Config{}, &APIError{Method: k.method, Path: k.path, Status: 200, Message: "the list has no such config", kinds: []error{ErrNotFound}}
}

// ConfigUpdate is what to change of a config.
type ConfigUpdate struct {
	// Conditions are replaced in any case: empty ones mean none.
	Conditions ConfigConditions
	// Name and Description are kept where empty, and in any case by a default config.
	Name, Description string
	// Queries of the config get another interval and state; the server passes over
	// those that the config does not have, and keeps those that are not named.
	Queries map[string]ConfigQuery
	// Filters replace all filters; kept where empty.
	Filters json.RawMessage
}

// Update changes a config as the call does: what ConfigUpdate says that the server
// passes over it passes over without a word. Modify notices. It needs the admin role.
// API: PUT /configs/{config_id} (REST guide 4.0.0, "Update a config").
func (s *ConfigsService) Update(ctx context.Context, id int64, u ConfigUpdate) error {
	const call = "update config"
	k, err := callConfigsUpdate.withID(id)
	if err != nil {
		return err
	}
	if u.Name != "" {
		err = plainName(call, u.Name)
	}
	if err := errors.Join(err, u.Conditions.check(call), objectOrNothing(call, "filters", u.Filters)); err != nil {
		return err
	}
	in := map[string]any{"conditions": u.Conditions.in()}
	set(in, "name", u.Name)
	set(in, "description", u.Description)
	if len(u.Filters) > 0 {
		in["filters"] = u.Filters
	}
	if len(u.Queries) > 0 {
		queries := make(map[string]any, len(u.Queries))
		for name, q := range u.Queries {
			seconds, err := intervalOf(call, name, q.Interval)
			if err != nil {
				return err
			}
			queries[name] = map[string]any{"status": q.Enabled, "interval": seconds}
		}
		in["queries"] = queries
	}
	return s.c.do(ctx, k, in, nil)
}

// Modify reads a config, lets change change it, and writes what is different. What
// the server would pass over is ErrInvalid and nothing is written: queries that
// come or go or get another SQL, description or filters that become empty, and
// other changes to a default config than to its queries and filters. What somebody
// else changes between reading and writing stays, except conditions; changes by one
// Client wait for each other, so change must not make one. An error of change ends it
// before anything is written. It returns the config as it was written. It needs the
// admin role.
func (s *ConfigsService) Modify(ctx context.Context, id int64, change func(*Config) error) (Config, error) {
	if _, err := callConfigsUpdate.withID(id); err != nil {
		return Config{}, err
	}
	release, err := s.turn.take(ctx)
	if err != nil {
		return Config{}, err
	}
	defer release()
	before, err := s.find(ctx, func(c Config) bool { return c.ID == id })
	if err != nil {
		return Config{}, fmt.Errorf("modify config %d: read: %w", id, err)
	}
	after := before
	after.Queries = maps.Clone(before.Queries)
	after.Conditions.Others = maps.Clone(before.Conditions.Others)
	after.Filters = slices.Clone(before.Filters)
	if err = change(&after); err == nil {
		err = changeable(before, after)
	}
	if err != nil {
		return Config{}, fmt.Errorf("modify config %d: %w", id, err)
	}
	u := ConfigUpdate{Conditions: after.Conditions, Queries: make(map[string]ConfigQuery)}
	if after.Name != before.Name {
		u.Name = after.Name
	}
	if after.Description != before.Description {
		u.Description = after.Description
	}
	if !bytes.Equal(after.Filters, before.Filters) {
		u.Filters = after.Filters
	}
	for name, q := range after.Queries {
		if q != before.Queries[name] {
			u.Queries[name] = q
		}
	}
	if err := s.Update(ctx, id, u); err != nil {
		return Config{}, err
	}
	return after, nil
}

// changeable reports the first change that the server would not carry out.
func changeable(before, after Config) error {
	no := func(what string) error { return fmt.Errorf("%w: %s", ErrInvalid, what) }
	conditions := func(c Config) string { return string(encode(plainJSON(c.Conditions.in()))) }
	switch {
	case after.ID != before.ID, after.Platform != before.Platform, after.Default != before.Default:
		return no("id, platform and default are fixed")
	case before.Default && after.Name != before.Name, before.Default && after.Description != before.Description,
		before.Default && conditions(after) != conditions(before):
		return no("the server keeps name, description and conditions of a default config")
	case after.Name == "", after.Description == "" && before.Description != "":
		return no("the server keeps name and description in place of empty ones")
	case emptyJSON(after.Filters) && !emptyJSON(before.Filters):
		return no("the server keeps the filters in place of empty ones")
	case len(after.Queries) != len(before.Queries):
		return no("the queries of a config are fixed when it is added")
	}
	for name, q := range after.Queries {
		old, ok := before.Queries[name]
		if !ok {
			return no(fmt.Sprintf("query %q is not in the config, and can be no more", clip(name, 80)))
		}
		old.Enabled, old.Interval = q.Enabled, q.Interval
		if q != old {
			return no(fmt.Sprintf("of query %q only interval and state can be changed", clip(name, 80)))
		}
	}
	return nil
}

// plainJSON is v as it comes back from JSON.
func plainJSON(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	plain, _ := decode(text) // it was JSON a moment ago
	return plain
}

func emptyJSON(text json.RawMessage) bool {
	v, err := parse(text)
	return err != nil || v.raw() == nil
}

// objectOrNothing refuses JSON that is not an object.
func objectOrNothing(call, argument string, text json.RawMessage) error {
	if len(text) == 0 {
		return nil
	}
	if v, err := parse(text); err != nil || !v.isObject() {
		return fmt.Errorf("%s: %w: %s is not a JSON object", call, ErrInvalid, argument)
	}
	return nil
}

// plainName refuses names that the server refuses or changes.
func plainName(call, name string) error {
	if name == "" || strings.TrimSpace(name) != name {
		return fmt.Errorf("%s: %w: name %q is empty or has blanks around it, which the server would take off", call, ErrInvalid, clip(name, 80))
	}
	return nil
}

// needed refuses an empty argument.
func needed(call, argument, text string) error {
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("%s: %w: %s is empty", call, ErrInvalid, argument)
	}
	return nil
}

// Delete removes a config; its hosts fall back to the default of their platform. A
// default config is ErrRefused, an unknown id ErrNotFound. It needs the consent
// DeleteForGood and the admin role.
// API: DELETE /configs/{config_id} (REST guide 4.0.0, "Delete a config").
func (s *ConfigsService) Delete(ctx context.Context, id int64, consent Consent) error {
	if err := consent.must(DeleteForGood, "delete config"); err != nil {
		return err
	}
	k, err := callConfigsDelete.withID(id)
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, nil, nil)
}
