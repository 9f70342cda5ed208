package connector_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
)

// Ids of the simulator's stock configs.
const (
	linuxDefault   = 1
	darwinDefault  = 2
	windowsDefault = 3
	windowsDeep    = 4
)

// configByID reads a config as the list tells it.
func (r *crossRig) configByID(id int64) connector.Config {
	r.Helper()
	for c, err := range r.client.Configs.List(r.Context()) {
		r.ok(err)
		if c.ID == id {
			return c
		}
	}
	r.Fatalf("there is no config %d", id)
	return connector.Config{}
}

// isErr fails the test unless err is of a kind.
func (r *crossRig) isErr(err, kind error) {
	r.Helper()
	if !errors.Is(err, kind) {
		r.Errorf("got %v, want %v", err, kind)
	}
}

func (r *crossRig) addConfig(name string) int64 {
	r.Helper()
	id, err := r.client.Configs.Add(r.Context(), connector.NewConfig{
		Name: name, Platform: "windows", Description: "for " + name, Conditions: connector.ConfigConditions{Hostname: "WIN-FIN"},
		Queries: map[string]connector.ConfigQuery{"users": {Enabled: true}, "patches": {Interval: time.Minute}},
		Filters: []byte(`{"options":{"custom_plgx_LogLevel":"1"}}`),
	})
	r.ok(err)
	return id
}

func (r *crossRig) query(name string) connector.ScheduledQuery {
	r.Helper()
	for q, err := range r.client.Queries.List(r.Context(), connector.ScheduledFilter{Search: name}) {
		r.ok(err)
		if q.Name == name {
			return q
		}
	}
	r.Fatalf("there is no query %q", name)
	return connector.ScheduledQuery{}
}

func (r *crossRig) hostOf(platform string) ersim.HostState {
	r.Helper()
	hosts := r.sim.Hosts()
	at := slices.IndexFunc(hosts, func(h ersim.HostState) bool { return h.Platform == platform })
	if at < 0 {
		r.Fatalf("no host with %s", platform)
	}
	return hosts[at]
}

func (r *crossRig) activeType(platform string) string {
	r.Helper()
	c, err := r.client.Release2.Config(r.Context(), connector.OldConfigKey{Platform: platform})
	r.ok(err)
	return c.Type
}

var crossConfig = map[string]cross{
	"configs-list": {user: "analyst", test: func(r *crossRig) {
		names := []string{}
		for c, err := range r.client.Configs.List(r.Context()) {
			r.ok(err)
			names = append(names, c.Platform+" "+c.Name+" "+strconv.FormatBool(c.Default)+" "+strconv.FormatInt(c.ID, 10))
		}
		r.is("configs", names, []string{"darwin Default true 2", "linux Default true 1", "windows Deep false 4", "windows Default true 3"})
		q := r.configByID(linuxDefault).Queries["arp_cache"]
		r.is("query", q, connector.ConfigQuery{Enabled: true, Interval: 24 * time.Hour, SQL: "select * from arp_cache;",
			Description: "Address resolution cache, both static and dynamic"})
	}},
	"configs-add": {test: func(r *crossRig) {
		id := r.addConfig("finance")
		c := r.configByID(id)
		r.is("name", c.Name+"/"+c.Platform+"/"+c.Description, "finance/windows/for finance")
		r.is("conditions", c.Conditions, connector.ConfigConditions{Hostname: "WIN-FIN"})
		r.is("filters", string(c.Filters), `{"options":{"custom_plgx_LogLevel":"1"}}`)
		r.is("queries", len(c.Queries), 2)
		// SQL and interval come from the default config.
		r.is("users", c.Queries["users"], connector.ConfigQuery{Enabled: true, Interval: 24 * time.Hour, SQL: "select * from users;", Description: "Local accounts"})
		r.is("patches", c.Queries["patches"].Interval, time.Minute)

		before := r.sim.Calls()["configs-add"]
		_, err := r.client.Configs.Add(r.Context(), connector.NewConfig{Name: "x", Platform: "windows",
			Queries: map[string]connector.ConfigQuery{"nosuch": {Enabled: true, Interval: time.Minute, SQL: "select 1;"}}})
		r.isErr(err, connector.ErrInvalid)
		r.is("calls after a query that the default lacks", r.sim.Calls()["configs-add"], before)

		_, err = r.client.Configs.Add(r.Context(), connector.NewConfig{Name: "finance", Platform: "windows"})
		r.isErr(err, connector.ErrRefused)
		for _, name := range []string{"four", "five"} { // with Default, Deep and finance
			_, err = r.client.Configs.Add(r.Context(), connector.NewConfig{Name: name, Platform: "windows"})
			r.is(name, err == nil, true)
		}
		_, err = r.client.Configs.Add(r.Context(), connector.NewConfig{Name: "six", Platform: "windows"})
		r.isErr(err, connector.ErrRefused)
		_, err = r.client.Configs.Add(r.Context(), connector.NewConfig{Name: "six", Platform: "linux"})
		r.ok(err)
	}},
	"configs-get": {user: "analyst", test: func(r *crossRig) {
		c, err := r.client.Configs.Get(r.Context(), windowsDeep)
		r.ok(err)
		r.is("id and name", strconv.FormatInt(c.ID, 10)+" "+c.Name, "4 Deep")
		r.is("queries", c.Queries["arp_cache"], connector.ConfigQuery{Enabled: true, Interval: 24 * time.Hour})
		_, err = r.client.Configs.Get(r.Context(), 99)
		r.isErr(err, connector.ErrNotFound)
		if errors.Is(err, connector.ErrUnavailable) {
			r.Errorf("an unknown id counts as an unknown call: %v", err)
		}
	}},
	"configs-update": {test: crossConfigsUpdate},
	"configs-delete": {test: func(r *crossRig) {
		ctx := r.Context()
		id := r.addConfig("gone")
		windows := r.hostOf("windows")
		_, err := r.client.Configs.Assign(ctx, id, []string{windows.Identifier}, nil)
		r.ok(err)
		r.isErr(r.client.Configs.Delete(ctx, id, "please"), connector.ErrInvalid)
		r.is("calls without consent", r.sim.Calls()["configs-delete"], 0)
		r.isErr(r.client.Configs.Delete(ctx, windowsDefault, connector.DeleteForGood), connector.ErrRefused)
		r.ok(r.client.Configs.Delete(ctx, id, connector.DeleteForGood))
		r.isErr(r.client.Configs.Delete(ctx, id, connector.DeleteForGood), connector.ErrNotFound)
		page, err := r.client.Configs.Hosts(ctx, windowsDefault)
		r.ok(err)
		r.is("host is back on the default", slices.ContainsFunc(page.Results, func(h connector.Host) bool { return h.ID == windows.ID }), true)
	}},
	"configs-assign": {test: func(r *crossRig) {
		ctx := r.Context()
		windows, linux := r.hostOf("windows"), r.hostOf("ubuntu")
		a, err := r.client.Configs.Assign(ctx, windowsDeep, []string{windows.Identifier, linux.Identifier, "nobody"}, []string{"finance", "nosuch"})
		r.ok(err)
		r.is("hosts", len(a.Hosts), 1)
		r.is("missing hosts", a.MissingHosts, []string{linux.Identifier, "nobody"})
		r.is("missing tags", a.MissingTags, []string{"nosuch"})
		r.is("complete", a.Complete(), false)
		a, err = r.client.Configs.Assign(ctx, windowsDeep, nil, []string{"workstation"})
		r.ok(err)
		r.is("complete", a.Complete(), true)
		_, err = r.client.Configs.Assign(ctx, windowsDeep, nil, nil)
		r.isErr(err, connector.ErrEmptyTarget)
		_, err = r.client.Configs.Assign(ctx, 99, []string{windows.Identifier}, nil)
		r.isErr(err, connector.ErrNotFound)
	}},
	"configs-hosts": {user: "analyst", test: func(r *crossRig) {
		page, err := r.client.Configs.Hosts(r.Context(), darwinDefault)
		r.ok(err)
		mac := r.hostOf("darwin")
		r.is("hosts", len(page.Results), 1)
		h := page.Results[0]
		r.is("host", h.Identifier+" "+h.Name+" "+h.LastIP, mac.Identifier+" "+mac.Name+" "+mac.IP)
		r.is("tags", h.Tags, mac.Tags)
		_, err = r.client.Configs.Hosts(r.Context(), 99)
		r.isErr(err, connector.ErrNotFound)
	}},

	"packs-list": {user: "analyst", test: func(r *crossRig) {
		page, err := r.client.Packs.Page(r.Context(), connector.PackQuery{Start: 1, Limit: 1})
		r.ok(err)
		r.is("count", page.Count, 3)
		r.is("by name", page.Results[0].Name, "it-compliance")
		q := page.Results[0].Queries[0]
		r.is("query", q.Name+" "+q.SQL+" "+q.Packs[0], "osquery_info select * from osquery_info; it-compliance")
		names := []string{}
		for p, err := range r.client.Packs.List(r.Context(), connector.PackQuery{Search: "RESPONSE", Limit: 2}) {
			r.ok(err)
			names = append(names, p.Name)
		}
		r.is("found", names, []string{"incident-response"})
		_, err = r.client.Packs.Page(r.Context(), connector.PackQuery{Start: -1})
		r.isErr(err, connector.ErrInvalid)
	}},
	"packs-get": {user: "analyst", test: func(r *crossRig) {
		p, err := r.client.Packs.Get(r.Context(), 1)
		r.ok(err)
		r.is("pack", p.Name+" "+p.Category, "it-compliance General")
		r.is("names", len(p.Names), 10)
		_, err = r.client.Packs.Get(r.Context(), 99)
		r.isErr(err, connector.ErrNotFound)
	}},
	"packs-add":    {test: crossPacksAdd},
	"packs-upload": {test: crossPacksUpload},
	"packs-tags-list": {user: "analyst", test: func(r *crossRig) {
		tags, err := r.client.Packs.Tags(r.Context(), "it-compliance")
		r.ok(err)
		r.is("tags", len(tags), 0)
		_, err = r.client.Packs.Tags(r.Context(), "nosuch")
		r.isErr(err, connector.ErrNotFound)
		_, err = r.client.Packs.Tags(r.Context(), "a/b")
		r.isErr(err, connector.ErrInvalid)
	}},
	"packs-tags-add": {test: func(r *crossRig) {
		ctx := r.Context()
		r.ok(r.client.Packs.AddTag(ctx, "it-compliance", "web"))
		r.ok(r.client.Packs.AddTag(ctx, "1", "db"))
		r.ok(r.client.Packs.AddTag(ctx, "1", "db"))
		tags, err := r.client.Packs.Tags(ctx, "1")
		r.ok(err)
		r.is("tags", tags, []string{"web", "db"})
		r.isErr(r.client.Packs.AddTag(ctx, "1", "a,b"), connector.ErrInvalid)
		r.isErr(r.client.Packs.AddTag(ctx, "nosuch", "web"), connector.ErrRefused)
	}},
	"packs-tags-remove": {test: func(r *crossRig) {
		ctx := r.Context()
		r.ok(r.client.Packs.AddTag(ctx, "2", "web"))
		r.ok(r.client.Packs.RemoveTag(ctx, "2", "web"))
		r.isErr(r.client.Packs.RemoveTag(ctx, "2", "web"), connector.ErrRefused)
		tags, err := r.client.Packs.Tags(ctx, "2")
		r.ok(err)
		r.is("tags", len(tags), 0)
	}},
	"packs-delete": {test: func(r *crossRig) {
		ctx := r.Context()
		r.isErr(r.client.Packs.Delete(ctx, "1", ""), connector.ErrInvalid)
		r.ok(r.client.Packs.Delete(ctx, "it-compliance", connector.DeleteForGood))
		_, err := r.client.Packs.Get(ctx, 1)
		r.isErr(err, connector.ErrNotFound)
		r.is("its query stays, in no pack", len(r.query("kernel_info").Packs), 0)
		r.isErr(r.client.Packs.Delete(ctx, "1", connector.DeleteForGood), connector.ErrRefused)
	}},

	"queries-list": {user: "analyst", test: func(r *crossRig) {
		page, err := r.client.Queries.Page(r.Context(), connector.ScheduledFilter{Limit: 2})
		r.ok(err)
		r.is("count", page.Count, 19)
		r.is("by name", page.Results[0].Name+" "+page.Results[1].Name, "arp chrome_extensions")
		n := 0
		for _, err := range r.client.Queries.List(r.Context(), connector.ScheduledFilter{Limit: 5}) {
			r.ok(err)
			n++
		}
		r.is("walked", n, 19)
	}},
	"queries-packed": {user: "analyst", test: func(r *crossRig) {
		page, err := r.client.Queries.PackedPage(r.Context(), connector.ScheduledFilter{Search: "uptime"})
		r.ok(err)
		r.is("a query in no pack", len(page.Results), 0)
		n := 0
		for q, err := range r.client.Queries.Packed(r.Context(), connector.ScheduledFilter{Limit: 5}) {
			r.ok(err)
			if len(q.Packs) == 0 {
				r.Errorf("%s is in no pack", q.Name)
			}
			n++
		}
		r.is("walked", n, 16)
	}},
	"queries-get": {user: "analyst", test: func(r *crossRig) {
		want := r.query("uptime")
		q, err := r.client.Queries.Get(r.Context(), want.ID)
		r.ok(err)
		r.is("query", q, want)
		r.is("interval", q.Interval, time.Hour)
		_, err = r.client.Queries.Get(r.Context(), 999)
		r.isErr(err, connector.ErrNotFound)
	}},
	"queries-add":    {test: crossQueriesAdd},
	"queries-update": {test: crossQueriesUpdate},
	"queries-tags-list": {user: "analyst", test: func(r *crossRig) {
		tags, err := r.client.Queries.Tags(r.Context(), 1)
		r.ok(err)
		r.is("tags", len(tags), 0)
		_, err = r.client.Queries.Tags(r.Context(), 999)
		r.isErr(err, connector.ErrNotFound)
	}},
	"queries-tags-add": {test: func(r *crossRig) {
		ctx := r.Context()
		r.ok(r.client.Queries.AddTag(ctx, 1, "web"))
		tags, err := r.client.Queries.Tags(ctx, 1)
		r.ok(err)
		r.is("tags", tags, []string{"web"})
		r.isErr(r.client.Queries.AddTag(ctx, 1, "web,db"), connector.ErrInvalid)
		r.isErr(r.client.Queries.AddTag(ctx, 999, "web"), connector.ErrRefused)
	}},
	"queries-tags-remove": {test: func(r *crossRig) {
		ctx := r.Context()
		r.ok(r.client.Queries.AddTag(ctx, 1, "web"))
		r.ok(r.client.Queries.RemoveTag(ctx, 1, "web"))
		r.isErr(r.client.Queries.RemoveTag(ctx, 1, "web"), connector.ErrRefused)
		tags, err := r.client.Queries.Tags(ctx, 1)
		r.ok(err)
		r.is("tags", len(tags), 0)
	}},
	"queries-delete": {test: func(r *crossRig) {
		ctx := r.Context()
		q := r.query("kernel_info")
		r.isErr(r.client.Queries.Delete(ctx, q.Name, connector.PurgeOldData), connector.ErrInvalid)
		r.ok(r.client.Queries.Delete(ctx, q.Name, connector.DeleteForGood))
		_, err := r.client.Queries.Get(ctx, q.ID)
		r.isErr(err, connector.ErrNotFound)
		p, err := r.client.Packs.Get(ctx, 1)
		r.ok(err)
		r.is("the pack has lost it", len(p.Names), 9)
		r.ok(r.client.Queries.Delete(ctx, strconv.FormatInt(r.query("uptime").ID, 10), connector.DeleteForGood))
		r.isErr(r.client.Queries.Delete(ctx, "uptime", connector.DeleteForGood), connector.ErrRefused)
	}},

	"carves-query": {profile: "2.1.2", test: func(r *crossRig) {
		ctx := r.Context()
		host := r.hostOf("ubuntu")
		ticket, err := r.client.Queries.Live(ctx, connector.LiveQuery{
			SQL: "select * from carves where path='/etc/passwd' and carve=1;", Hosts: []string{host.Identifier}})
		r.ok(err)
		_, err = r.client.Queries.Results(ctx, ticket, time.Minute) // the carve has started once the host has answered
		r.ok(err)
		c, err := r.client.Carves.ByQuery(ctx, ticket.QueryID, host.Identifier)
		r.ok(err)
		r.is("host", c.NodeID, host.ID)
		_, err = r.client.Carves.ByQuery(ctx, ticket.QueryID+1, host.Identifier)
		r.isErr(err, connector.ErrNotFound)
	}},
	"options-get": {profile: "2.1.2", test: func(r *crossRig) {
		options, err := r.client.Release2.Options(r.Context())
		r.ok(err)
		r.is("option", string(options["schedule_splay_percent"]), "10")
		r.is("option", string(options["host_identifier"]), `"uuid"`)
	}},
	"options-add": {profile: "2.1.2", test: func(r *crossRig) {
		ctx := r.Context()
		r.ok(r.client.Release2.MergeOptions(ctx, map[string]any{"schedule_splay_percent": 20, "new": ""}))
		options, err := r.client.Release2.Options(ctx)
		r.ok(err)
		r.is("merged", string(options["schedule_splay_percent"])+string(options["host_identifier"])+string(options["new"]), `20"uuid"""`)
		one := map[string]any{"only": true}
		r.isErr(r.client.Release2.SetOptions(ctx, one, connector.DeleteForGood), connector.ErrInvalid)
		r.isErr(r.client.Release2.SetOptions(ctx, nil, connector.ReplaceEverything), connector.ErrInvalid)
		r.ok(r.client.Release2.SetOptions(ctx, one, connector.ReplaceEverything))
		options, err = r.client.Release2.Options(ctx)
		r.ok(err)
		r.is("replaced", len(options), 1)
	}},
	"queryresult-delete": {profile: "2.1.2", test: func(r *crossRig) {
		ctx := r.Context()
		r.isErr(r.client.Release2.DeleteResults(ctx, 30, connector.DeleteForGood), connector.ErrInvalid)
		r.isErr(r.client.Release2.DeleteResults(ctx, 0, connector.PurgeOldData), connector.ErrInvalid)
		r.is("calls", r.sim.Calls()["queryresult-delete"], 0)
		r.ok(r.client.Release2.DeleteResults(ctx, 30, connector.PurgeOldData))
	}},
	"configs-all": {profile: "2.1.2", test: func(r *crossRig) {
		configs, err := r.client.Release2.Configs(r.Context())
		r.ok(err)
		names := []string{}
		for _, c := range configs {
			names = append(names, c.String()+" "+strconv.FormatBool(c.Active)+" "+strconv.FormatBool(len(c.Queries) > 3 && c.Filters != nil))
		}
		r.is("configs", names, []string{"darwin x86_64 default true true", "linux x86_64 default true true", "windows x86 default true true",
			"windows x86_64 shallow true true", "windows x86_64 deep false true"})
		r.is("SQL", configs[0].Queries["launchd"].SQL, "select * from launchd;")
	}},
	"configs-view": {profile: "2.1.2", test: func(r *crossRig) {
		ctx := r.Context()
		c, err := r.client.Release2.Config(ctx, connector.OldConfigKey{Platform: "windows"})
		r.ok(err)
		r.is("config", c.String(), "windows x86_64 shallow")
		r.is("query", c.Queries["users"], connector.ConfigQuery{Enabled: true, Interval: 24 * time.Hour})
		_, err = r.client.Release2.Config(ctx, connector.OldConfigKey{Platform: "linux", Arch: "x86"})
		r.isErr(err, connector.ErrNotFound)
		whole, err := r.client.Release2.HostConfig(ctx, r.hostOf("ubuntu").Identifier)
		r.ok(err)
		r.is("what the agent gets", strings.Contains(string(whole), `"file_paths"`) && strings.Contains(string(whole), "schedule_splay_percent"), true)
		_, err = r.client.Release2.HostConfig(ctx, "nobody")
		r.isErr(err, connector.ErrNotFound)
	}},
	"configs-update-old": {profile: "2.1.2", test: func(r *crossRig) {
		ctx := r.Context()
		deep := connector.OldConfigKey{Platform: "windows", Arch: "x86_64", Type: "deep"}
		after, err := r.client.Release2.ModifyConfig(ctx, deep, always(func(c *connector.OldConfig) {
			c.Queries["arp_cache"] = connector.ConfigQuery{SQL: c.Queries["arp_cache"].SQL, Description: c.Queries["arp_cache"].Description, Interval: time.Minute}
		}))
		r.ok(err)
		configs, err := r.client.Release2.Configs(ctx)
		r.ok(err)
		r.is("deep", configs[slices.IndexFunc(configs, func(c connector.OldConfig) bool { return c.OldConfigKey == deep })], after)
		_, err = r.client.Release2.ModifyConfig(ctx, deep, always(func(c *connector.OldConfig) { delete(c.Queries, "arp_cache") }))
		r.isErr(err, connector.ErrInvalid)
		r.isErr(r.client.Release2.UpdateConfig(ctx, deep, nil, nil), connector.ErrInvalid)
		r.isErr(r.client.Release2.UpdateConfig(ctx, connector.OldConfigKey{Platform: "linux", Arch: "x86", Type: "deep"}, nil, []byte("{}")),
			connector.ErrRefused)
	}},
	"configs-toggle": {profile: "2.1.2", test: func(r *crossRig) {
		ctx := r.Context()
		r.ok(r.client.Release2.ToggleConfig(ctx, connector.OldConfigKey{Platform: "windows", Type: "deep"}))
		r.is("active", r.activeType("windows"), "deep")
		// The server would do this, and leave Linux hosts without a config.
		r.isErr(r.client.Release2.ToggleConfig(ctx, connector.OldConfigKey{Platform: "linux", Type: "deep"}), connector.ErrNotFound)
		r.is("calls", r.sim.Calls()["configs-toggle"], 1)
		r.is("active", r.activeType("linux"), "default")
		err := r.client.Release2.ToggleConfig(ctx, connector.OldConfigKey{Platform: "linux", Type: "medium"})
		r.isErr(err, connector.ErrInvalid)
		r.is("the set is named", strings.Contains(err.Error(), "default, shallow, deep"), true)
	}},
}

func crossConfigsUpdate(r *crossRig) {
	ctx, configs := r.Context(), r.client.Configs
	id := r.addConfig("finance")
	before := r.configByID(id)
	after, err := configs.Modify(ctx, id, always(func(c *connector.Config) {
		q := c.Queries["users"]
		q.Enabled, q.Interval = false, 2*time.Hour
		c.Queries["users"] = q
		c.Description = "changed"
	}))
	r.ok(err)
	r.is("written", r.configByID(id), after)
	r.is("conditions stay", after.Conditions, before.Conditions)
	r.is("filters stay", string(after.Filters), string(before.Filters))

	// A default config keeps name, description and conditions without a word.
	r.ok(configs.Update(ctx, windowsDefault, connector.ConfigUpdate{Name: "mine", Filters: []byte(`{"a":1}`)}))
	c := r.configByID(windowsDefault)
	r.is("default config", c.Name+" "+string(c.Filters), `Default {"a":1}`)

	calls := r.sim.Calls()["configs-update"]
	for name, change := range map[string]func(*connector.Config){
		"another query":  func(c *connector.Config) { c.Queries["arp_cache"] = connector.ConfigQuery{Interval: time.Hour} },
		"one query less": func(c *connector.Config) { delete(c.Queries, "users") },
		"other SQL": func(c *connector.Config) {
			c.Queries["users"] = connector.ConfigQuery{SQL: "select 1;", Interval: time.Hour}
		},
		"no filters":       func(c *connector.Config) { c.Filters = nil },
		"no description":   func(c *connector.Config) { c.Description = "" },
		"another platform": func(c *connector.Config) { c.Platform = "linux" },
		"broken filters":   func(c *connector.Config) { c.Filters = []byte(`[1]`) },
		"half a second": func(c *connector.Config) {
			q := c.Queries["users"]
			q.Interval = time.Second / 2
			c.Queries["users"] = q
		},
		"blanks round name": func(c *connector.Config) { c.Name += " " },
	} {
		_, err := configs.Modify(ctx, id, always(change))
		if !errors.Is(err, connector.ErrInvalid) {
			r.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	_, err = configs.Modify(ctx, linuxDefault, always(func(c *connector.Config) { c.Name = "mine" }))
	r.isErr(err, connector.ErrInvalid)
	r.is("nothing was sent", r.sim.Calls()["configs-update"], calls)
	_, err = configs.Modify(ctx, 99, always(func(*connector.Config) {}))
	r.isErr(err, connector.ErrNotFound)
	r.isErr(configs.Update(ctx, 99, connector.ConfigUpdate{}), connector.ErrNotFound)
	r.isErr(configs.Update(ctx, id, connector.ConfigUpdate{Name: "Deep"}), connector.ErrRefused) // taken
}

func crossPacksAdd(r *crossRig) {
	ctx, packs := r.Context(), r.client.Packs
	pack := connector.NewPack{
		Name: "mine", Category: "Monitoring", Platform: "linux", Version: "1.0", Description: "of mine", Shard: 50, Tags: []string{"web"},
		Queries: []connector.ScheduledQuery{
			{Name: "who", SQL: "select * from users;", Interval: time.Minute, Platform: "linux", Snapshot: true},
			{Name: "wrong", SQL: "select * from nosuch;", Interval: time.Minute},
		},
	}
	a, err := packs.Add(ctx, pack)
	r.ok(err)
	r.is("missing", a.Missing, []string{"wrong"})
	p, err := packs.Get(ctx, a.ID)
	r.ok(err)
	r.is("pack", p, connector.Pack{ID: a.ID, Name: "mine", Category: "Monitoring", Platform: "linux", Version: "1.0", Description: "of mine",
		Shard: new(50), Tags: []string{"web"}, Names: []string{"who"}})
	r.is("query", r.query("who").Snapshot, true)

	// Again: the queries of before are not touched, the rest is replaced.
	pack.Queries[0].SQL, pack.Queries[1].SQL, pack.Tags, pack.Version = "select uid from users;", "select pid from processes;", nil, ""
	again, err := packs.Add(ctx, pack)
	r.ok(err)
	r.is("same pack", again, connector.AddedPack{ID: a.ID, Kept: []string{"who"}})
	r.is("complete", again.Complete(), false)
	p, err = packs.Get(ctx, a.ID)
	r.ok(err)
	r.is("version and tags", p.Version+strings.Join(p.Tags, ","), "web")

	calls := r.sim.Calls()["packs-add"]
	for name, bad := range map[string]connector.NewPack{
		"no name":     {},
		"category":    {Name: "x", Category: "monitoring"},
		"platform":    {Name: "x", Platform: "posix"},
		"shard":       {Name: "x", Shard: 101},
		"tag":         {Name: "x", Tags: []string{"a b"}},
		"query":       {Name: "x", Queries: []connector.ScheduledQuery{{Name: "q", Interval: time.Minute}}},
		"query twice": {Name: "x", Queries: []connector.ScheduledQuery{pack.Queries[0], pack.Queries[0]}},
	} {
		if _, err := packs.Add(ctx, bad); !errors.Is(err, connector.ErrInvalid) {
			r.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	r.is("nothing was sent", r.sim.Calls()["packs-add"], calls)
}

func crossPacksUpload(r *crossRig) {
	ctx, packs := r.Context(), r.client.Packs
	file := connector.Upload{Name: "Web.Servers.conf", Content: []byte(`{"platform": "linux", "tags": "web",
		"queries": {"ports": {"query": "select * from listening_ports;", "interval": "60"}}}`)}
	a, err := packs.Upload(ctx, file, "Others")
	r.ok(err)
	r.is("complete", a.Complete(), true)
	p, err := packs.Get(ctx, a.ID)
	r.ok(err)
	r.is("pack", p, connector.Pack{ID: a.ID, Name: "web", Category: "Others", Platform: "linux", Tags: []string{"web"}, Names: []string{"ports"}})
	r.is("interval", r.query("ports").Interval, time.Minute)

	calls := r.sim.Calls()["packs-upload"]
	for name, content := range map[string]string{"a.json": "queries:", "b.json": `{"packs": {}}`, "c.json": `{"queries": {"q": {}}}`, ".json": `{"queries": {}}`} {
		if _, err := packs.Upload(ctx, connector.Upload{Name: name, Content: []byte(content)}, ""); !errors.Is(err, connector.ErrInvalid) {
			r.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	r.is("nothing was sent", r.sim.Calls()["packs-upload"], calls)
	// What only the server knows.
	_, err = packs.Upload(ctx, connector.Upload{Name: "d.json", Content: []byte(`{"platform": "plan9", "queries": {}}`)}, "")
	r.isErr(err, connector.ErrRefused)
}

func crossQueriesAdd(r *crossRig) {
	ctx, queries := r.Context(), r.client.Queries
	q := connector.ScheduledQuery{Name: "mine", SQL: "select pid from processes;", Interval: 90 * time.Second, Platform: "linux", Version: "4.0",
		Description: "of mine", Value: "none", Tags: []string{"db", "web"}, Packs: []string{"it-compliance", "incident-response"}}
	id, err := queries.Add(ctx, q)
	r.ok(err)
	got, err := queries.Get(ctx, id)
	r.ok(err)
	q.ID, q.Shard = id, new(100)
	slices.Sort(got.Packs)
	slices.Sort(q.Packs)
	r.is("query", got, q)

	_, err = queries.Add(ctx, q)
	r.isErr(err, connector.ErrRefused) // the name is taken
	_, err = queries.Add(ctx, connector.ScheduledQuery{Name: "x", SQL: "select * from nosuch;", Interval: time.Minute})
	r.isErr(err, connector.ErrRefused)

	calls := r.sim.Calls()["queries-add"]
	for name, change := range map[string]func(*connector.ScheduledQuery){
		"name":     func(q *connector.ScheduledQuery) { q.Name = " " },
		"SQL":      func(q *connector.ScheduledQuery) { q.SQL = "" },
		"interval": func(q *connector.ScheduledQuery) { q.Interval = 0 },
		"platform": func(q *connector.ScheduledQuery) { q.Platform = "Linux" },
		"tag":      func(q *connector.ScheduledQuery) { q.Tags = []string{"a,b"} },
		"pack":     func(q *connector.ScheduledQuery) { q.Packs = []string{"nosuch"} },
	} {
		bad := q
		bad.Name = "other"
		change(&bad)
		if _, err := queries.Add(ctx, bad); !errors.Is(err, connector.ErrInvalid) {
			r.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	r.is("nothing was sent", r.sim.Calls()["queries-add"], calls)
}

func crossQueriesUpdate(r *crossRig) {
	ctx, queries := r.Context(), r.client.Queries
	r.ok(queries.AddTag(ctx, r.query("kernel_info").ID, "web"))
	before := r.query("kernel_info")
	after, err := queries.Modify(ctx, before.ID, always(func(q *connector.ScheduledQuery) { q.Interval = time.Minute }))
	r.ok(err)
	got, err := queries.Get(ctx, before.ID)
	r.ok(err)
	before.Interval = time.Minute
	r.is("changed", after, before)
	before.Platform = "all" // release 4.0 has no empty one
	r.is("nothing is lost", got, before)
	r.is("tags and packs", strings.Join(got.Tags, ",")+" "+strings.Join(got.Packs, ","), "web it-compliance")

	// The plain call replaces.
	r.ok(queries.Update(ctx, connector.ScheduledQuery{ID: before.ID, Name: "kernel", SQL: "select * from kernel_info;", Interval: time.Hour}))
	got, err = queries.Get(ctx, before.ID)
	r.ok(err)
	r.is("replaced", got, connector.ScheduledQuery{ID: before.ID, Name: "kernel", SQL: "select * from kernel_info;", Interval: time.Hour, Platform: "all"})

	r.isErr(queries.Update(ctx, connector.ScheduledQuery{ID: 999, Name: "x", SQL: "select 1;", Interval: time.Hour}), connector.ErrRefused)
	r.isErr(queries.Update(ctx, connector.ScheduledQuery{ID: before.ID, Name: "uptime", SQL: "select 1;", Interval: time.Hour}), connector.ErrRefused)
	_, err = queries.Modify(ctx, before.ID, always(func(q *connector.ScheduledQuery) { q.ID++ }))
	r.isErr(err, connector.ErrInvalid)
	_, err = queries.Modify(ctx, 999, always(func(*connector.ScheduledQuery) {}))
	r.isErr(err, connector.ErrNotFound)
}

// TestRelease2CallsGone checks that release 4.0 names the releases that have what it
// gave up, whatever the call.
func TestRelease2CallsGone(t *testing.T) {
	r := newCrossRig(t, cross{})
	ctx, old, key := t.Context(), r.client.Release2, connector.OldConfigKey{Platform: "windows", Type: "deep"}
	for name, call := range map[string]func() error{
		"options-get":        func() error { _, err := old.Options(ctx); return err },
		"options-add":        func() error { return old.SetOptions(ctx, map[string]any{"a": 1}, connector.ReplaceEverything) },
		"queryresult-delete": func() error { return old.DeleteResults(ctx, 1, connector.PurgeOldData) },
		"configs-all":        func() error { _, err := old.Configs(ctx); return err },
		"configs-view":       func() error { _, err := old.Config(ctx, key); return err },
		"configs-update-old": func() error { return old.UpdateConfig(ctx, key, nil, []byte("{}")) },
		"configs-toggle":     func() error { return old.ToggleConfig(ctx, key) },
	} {
		err := call()
		if !errors.Is(err, connector.ErrUnavailable) || errors.Is(err, connector.ErrUncertain) || !strings.Contains(err.Error(), "2.1.2 to 3.5") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestConfigsUnavailable checks the other way round.
func TestConfigsUnavailable(t *testing.T) {
	r := newCrossRig(t, cross{profile: "2.1.2"})
	for _, err := range r.client.Configs.List(t.Context()) {
		if !errors.Is(err, connector.ErrUnavailable) || !strings.Contains(err.Error(), "since 3.5") {
			t.Error(err)
		}
	}
	if err := r.client.Configs.Delete(t.Context(), 1, connector.DeleteForGood); !errors.Is(err, connector.ErrUnavailable) {
		t.Error(err)
	}
}

// TestPacksOnRelease2 adds a pack without tags to a release that breaks without.
func TestPacksOnRelease2(t *testing.T) {
	r := newCrossRig(t, cross{profile: "2.1.2"})
	a, err := r.client.Packs.Add(t.Context(), connector.NewPack{
		Name: "mine", Queries: []connector.ScheduledQuery{{Name: "who", SQL: "select * from users;", Interval: time.Minute}}})
	if err != nil || !a.Complete() {
		t.Fatal(a, err)
	}
	_, err = r.client.Packs.Add(t.Context(), connector.NewPack{
		Name: "mine", Queries: []connector.ScheduledQuery{{Name: "wrong", SQL: "select * from nosuch;", Interval: time.Minute}}})
	if !errors.Is(err, connector.ErrUncertain) { // it breaks in the middle
		t.Error(err)
	}
}

// TestAnalystsMayNot checks that analysts read and do not write, in release 4.0.
func TestAnalystsMayNot(t *testing.T) {
	r := newCrossRig(t, cross{user: "analyst"})
	ctx := t.Context()
	for name, err := range map[string]error{
		"configs-update": r.client.Configs.Update(ctx, 1, connector.ConfigUpdate{}),
		"configs-delete": r.client.Configs.Delete(ctx, 4, connector.DeleteForGood),
		"packs-delete":   r.client.Packs.Delete(ctx, "1", connector.DeleteForGood),
		"packs-tags-add": r.client.Packs.AddTag(ctx, "1", "web"),
		"queries-delete": r.client.Queries.Delete(ctx, "1", connector.DeleteForGood),
	} {
		if !errors.Is(err, connector.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// always makes a change that has no error.
func always[T any](change func(*T)) func(*T) error {
	return func(v *T) error {
		change(v)
		return nil
	}
}
