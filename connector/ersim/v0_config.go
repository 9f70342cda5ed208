package ersim

import (
	"maps"
	"slices"
	"time"
)

// v0State is what only the profile with API v0 alone has: configs by id.
type v0State struct {
	configs  []*v0Config
	assigned map[int64]*v0Config // by host id; other hosts use the first
}

// v0Config is a config of the older documents: a name and any JSON object.
type v0Config struct {
	id      int64
	name    string
	content obj
	updated time.Time
}

// v0ConfigTable lists the calls around configs. The older documents have them by id
// and later by platform, the source of release 2.1.2 by platform only.
func (s *Server) v0ConfigTable() []route {
	const given = needToken | only20
	return []route{
		{"v0-node-config-assign", "POST", "/nodes/config/assign", given, s.v0ConfigAssign, nil},
		{"v0-node-config-remove", "POST", "/nodes/config/remove", given, s.v0ConfigRemove, nil},
		{"v0-node-config", "GET", "/nodes/config/{node}", given, s.v0NodeConfig, nil},
		{"v0-configs", "GET", "/configs", needToken, s.v0Configs, nil},
		{"v0-configs", "GET", "/configs/", needToken, s.v0Configs, nil},
		{"v0-configs-add", "POST", "/configs/add", given, s.v0ConfigsAdd, nil},
		{"v0-configs-get", "GET", "/configs/{id:int}", given, s.v0ConfigsGet, nil},
		{"v0-configs-update", "POST", "/configs/{id:int}", given, s.v0ConfigsUpdate, nil},
		{"v0-configs-platform-get", "GET", "/configs/{platform}", given, s.v0PlatformConfig, nil},
		{"v0-configs-platform-update", "PUT", "/configs/{platform}", needToken, s.v0PlatformUpdate, nil},
	}
}

// buildV0 makes the state of a new server: one config, with the queries that
// Windows comes with.
func (s *Server) buildV0() {
	if !s.older() {
		return
	}
	s.v0.assigned = map[int64]*v0Config{}
	schedule := obj{}
	for _, q := range windowsQueries {
		schedule[q.name] = obj{"query": q.sql, "interval": q.interval, "description": q.description}
	}
	s.addV0Config("poly-config", obj{
		"schedule":          schedule,
		"win_include_paths": obj{"user_folders": []string{`C:\Users\*\Downloads\`}},
		"win_exclude_paths": obj{"temp_folders": []string{`C:\Windows\Temp\`}},
	})
}

func (s *Server) addV0Config(name string, content obj) *v0Config {
	k := &v0Config{id: int64(len(s.v0.configs) + 1), name: name, content: content, updated: s.now()}
	s.v0.configs = append(s.v0.configs, k)
	return k
}

func (s *Server) v0Config(id int64) *v0Config {
	if id < 1 || id > int64(len(s.v0.configs)) {
		return nil
	}
	return s.v0.configs[id-1]
}

func (k *v0Config) object() obj {
	return obj{"id": k.id, "name": k.name, "config": k.content, "created_at": nil, "updated_at": k.updated.Format(time.DateTime)}
}

const v0NoConfig = "Config with this id does not exist"

// API: GET /configs: in the older documents a list, in the source by platform,
// architecture and number of the type.
func (s *Server) v0Configs(c *call) answer {
	if !s.older() {
		return s.oldConfigsAll(c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []obj{}
	for _, k := range slices.Backward(s.v0.configs) {
		rows = append(rows, k.object())
	}
	return s.v0OK("Successfully received the configs", rows)
}

// API: GET /configs/{config_id}.
func (s *Server) v0ConfigsGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.v0Config(c.pathID("id"))
	if k == nil {
		return s.fail(v0NoConfig)
	}
	return s.v0OK("Successfully fetched the data", k.object())
}

// v0ConfigInput reads the arguments of the calls that add and update.
func (s *Server) v0ConfigInput(c *call) (name string, content obj, refusal *answer) {
	c.need("name", "name of the config")
	c.need("config", "config")
	content = c.object("config", "config")
	return c.text("name"), content, s.invalid(c.args)
}

// API: POST /configs/add.
func (s *Server) v0ConfigsAdd(c *call) answer {
	name, content, refusal := s.v0ConfigInput(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flat("Successfully added the config", obj{"config_id": s.addV0Config(name, content).id})
}

// API: POST /configs/{config_id}. The content is replaced whole.
func (s *Server) v0ConfigsUpdate(c *call) answer {
	name, content, refusal := s.v0ConfigInput(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.v0Config(c.pathID("id"))
	if k == nil {
		return s.fail(v0NoConfig)
	}
	k.name, k.content, k.updated = name, content, s.now()
	return s.v0OK("Successfully updated the config", k.object())
}

// API: POST /nodes/config/assign.
func (s *Server) v0ConfigAssign(c *call) answer {
	c.need("host_identifier", "host identifier of the node")
	c.need("config_id", "id of the config")
	id := c.number("config_id", "id of the config", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, k := s.node(c.text("host_identifier")), s.v0Config(id)
	switch {
	case h == nil:
		return s.fail(v0BadNode)
	case k == nil:
		return s.fail(v0NoConfig)
	}
	s.v0.assigned[h.id] = k
	return s.v0OK("Successfully assigned the config", nil)
}

// API: POST /nodes/config/remove.
func (s *Server) v0ConfigRemove(c *call) answer {
	c.need("host_identifier", "host identifier of the node")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.text("host_identifier"))
	if h == nil {
		return s.fail(v0BadNode)
	}
	delete(s.v0.assigned, h.id)
	return s.v0OK("Successfully removed the config", nil)
}

// API: GET /nodes/config/{host_identifier}: the config with the options of agents.
func (s *Server) v0NodeConfig(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.path["node"])
	if h == nil {
		return s.fail(v0NoNode)
	}
	k := s.v0.assigned[h.id]
	if k == nil {
		k = s.v0.configs[0]
	}
	out := obj{"packs": obj{}, "schedule": obj{}, "options": s.release2.options, "win_include_paths": obj{}, "win_exclude_paths": obj{}}
	for _, p := range s.packs.all {
		if shareOne(p.tags, h.tags) {
			out["packs"].(obj)[p.name] = s.v0PackRow(p)
		}
	}
	maps.Copy(out, k.content)
	return s.v0OK("Successfully fetched the node config", out)
}

const v0NoPlatform = "Config for this platform name doesn't exists!"

// API: GET /configs/{platform}: the config in use.
func (s *Server) v0PlatformConfig(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.oldConfig(c.path["platform"], "x86_64", -1)
	if k == nil {
		return s.fail(v0NoPlatform)
	}
	return s.v0OK("Successfully fetched the config through its platform name", obj{"queries": briefQueries(k.queries), "filters": k.filters})
}

// API: PUT /configs/{platform}. Filters are replaced, of queries status and
// interval, and the config comes into use.
func (s *Server) v0PlatformUpdate(c *call) answer {
	c.need("filters", "filters to define for the specific platform")
	c.need("queries", "queries to define for the specific platform")
	platform := c.path["platform"]
	arch := defaultText(c.choice("arch", "arch of platform", oldArchs...), "x86_64")
	kind := oldType(platform, arch, c.choice("type", "type of the config", oldTypes...))
	queries := c.object("queries", "queries to define for the specific platform")
	filters := c.object("filters", "filters to define for the specific platform")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.oldConfig(platform, arch, kind)
	switch {
	case k == nil:
		return s.fail(v0NoPlatform)
	case !completeQueries(queries) || !changeQueries(k.queries, queries):
		return s.fail("Please check the payload and try again with correct payload")
	}
	k.filters = maps.Clone(filters)
	for _, other := range s.release2.configs {
		if other.platform == platform && other.arch == arch {
			other.active = other == k
		}
	}
	return s.v0OK("Config is edited successfully for the platform given", obj{"queries": briefQueries(k.queries), "filters": k.filters})
}
