package connector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// crossV0 runs against the server of the 2.x line that has every call of API v0.
// TestV0OfRelease212 runs what release 2.1.2 still has against that release, where
// answers differ in shape.
var crossV0 = map[string]cross{
	"v0-login": v0(func(r *crossRig) {
		token, err := r.client.V0.Login(r.Context(), "admin", soar.SecretValue("admin"))
		r.ok(err)
		r.is("token", token.IsSet(), true)
		_, err = r.client.V0.Login(r.Context(), "admin", soar.SecretValue("wrong"))
		r.is("wrong password", errors.Is(err, connector.ErrBadCredentials), true)
	}),
	"v0-logout": v0(func(r *crossRig) {
		r.ok(r.client.Login(r.Context()))
		before := r.sim.Calls()["v0-login"]
		r.ok(r.client.V0.Logout(r.Context()))
		_, err := r.client.V0.YARA(r.Context())
		r.ok(err)
		r.is("new logins", r.sim.Calls()["v0-login"]+r.sim.Calls()["auth-login"]-before > 0, true)
	}),
	"v0-changepw": v0(func(r *crossRig) {
		r.ok(r.client.V0.ChangePassword(r.Context(), connector.PasswordChange{New: soar.SecretValue("Other-1!")}))
		_, err := r.client.V0.Login(r.Context(), "admin", soar.SecretValue("Other-1!"))
		r.ok(err)
		_, err = r.client.V0.Login(r.Context(), "admin", soar.SecretValue("admin"))
		r.is("old password", errors.Is(err, connector.ErrBadCredentials), true)
	}),
	"v0-nodes": v0(func(r *crossRig) {
		fleet := r.sim.Hosts()
		r.sim.SetTags(fleet[0].Identifier, "a", "b")
		page, err := r.client.V0.Nodes(r.Context(), connector.V0NodeQuery{})
		r.ok(err)
		r.is("nodes", len(page.Results), len(fleet))
		i := slices.IndexFunc(page.Results, func(h connector.Host) bool { return h.Identifier == fleet[0].Identifier })
		r.is("tags", page.Results[i].Tags, []string{"a", "b"})
		r.is("name", page.Results[i].Name, fleet[0].Name)
		r.is("enrolled", page.Results[i].EnrolledOn.IsZero() || page.Results[i].LastCheckin.IsZero(), false)
		r.sim.SetOnline(fleet[0].Identifier, false)
		page, err = r.client.V0.Nodes(r.Context(), connector.V0NodeQuery{Online: true})
		r.ok(err)
		r.is("online", len(page.Results), len(fleet)-1)
	}),
	"v0-nodes-get": v0(func(r *crossRig) {
		want := r.sim.Hosts()[2]
		h, err := r.client.V0.Node(r.Context(), want.Identifier)
		r.ok(err)
		r.is("host", []any{h.ID, h.Name, h.Identifier}, []any{want.ID, want.Name, want.Identifier})
		_, err = r.client.V0.Node(r.Context(), "nobody")
		r.is("nobody", errors.Is(err, connector.ErrNotFound), true)
	}),
	"v0-nodes-csv": v0(func(r *crossRig) {
		var out bytes.Buffer
		_, err := r.client.V0.ExportNodes(r.Context(), &out)
		r.ok(err)
		r.is("lines", strings.Count(strings.TrimSpace(out.String()), "\n"), len(r.sim.Hosts()))
		r.is("host", strings.Contains(out.String(), r.sim.Hosts()[0].Identifier), true)
	}),
	"v0-node-config":        v0(nodeConfig),
	"v0-node-config-assign": v0(nodeConfig),
	"v0-node-config-remove": v0(nodeConfig),
	"v0-configs": v0(func(r *crossRig) {
		all, err := r.client.V0.Configs(r.Context())
		r.ok(err)
		switch {
		case len(all.Configs.Results) > 0:
			first := all.Configs.Results[0]
			r.is("config", first.ID > 0 && first.Name != "" && first.Config != nil && !first.UpdatedAt.IsZero(), true)
		default:
			r.is("platforms", slices.Sorted(maps.Keys(all.Platforms)), []string{"darwin", "linux", "windows"})
		}
	}),
	"v0-configs-get":    v0(configByID),
	"v0-configs-add":    v0(configByID),
	"v0-configs-update": v0(configByID),
	"v0-configs-platform-get": v0(func(r *crossRig) {
		config, err := r.client.V0.PlatformConfig(r.Context(), "windows")
		r.ok(err)
		r.is("config", len(config.Queries) > 0 && config.Active && config.Platform == "windows", true)
		_, err = r.client.V0.PlatformConfig(r.Context(), "solaris")
		r.is("unknown platform", errors.Is(err, connector.ErrInvalid), true)
	}),
	"v0-configs-platform-update": v0(func(r *crossRig) {
		change := connector.OldConfig{
			OldConfigKey: connector.OldConfigKey{Platform: "windows", Type: "deep"}, Filters: json.RawMessage(`{"options":{"a":1}}`),
			Queries: map[string]connector.ConfigQuery{"arp_cache": {Enabled: false, Interval: 77 * time.Second}},
		}
		now, err := r.client.V0.UpdatePlatformConfig(r.Context(), change)
		r.ok(err)
		r.is("interval", now.Queries["arp_cache"].Interval, 77*time.Second)
		r.is("filters", string(now.Filters), `{"options":{"a":1}}`)
	}),
	"v0-schedule-results": v0(func(r *crossRig) {
		host, query := hostWithResults(r)
		all, err := r.client.V0.ScheduleResults(r.Context(), connector.V0ResultQuery{Host: host, Query: query})
		r.ok(err)
		r.is("rows", len(all.Results) > 1 && all.Results[0].Query == query && !all.Results[0].Time.IsZero(), true)
		second, err := r.client.V0.ScheduleResults(r.Context(), connector.V0ResultQuery{Host: host, Query: query, Start: 1, Limit: 1})
		r.ok(err)
		r.is("second", second.Results, all.Results[1:2])
	}),
	"v0-schedule-list": v0(func(r *crossRig) {
		host, query := hostWithResults(r)
		all, err := r.client.V0.ScheduleQueries(r.Context(), host, time.Time{})
		r.ok(err)
		r.is("has the query", slices.ContainsFunc(all.Results, func(row connector.ResultRow) bool { return row.Query == query }), true)
		none, err := r.client.V0.ScheduleQueries(r.Context(), host, time.Now().AddDate(1, 0, 0))
		r.ok(err)
		r.is("of the future", len(none.Results), 0)
	}),
	"v0-nodes-tag-edit": v0(func(r *crossRig) {
		host := r.sim.Hosts()[0].Identifier
		r.sim.SetTags(host, "old", "stays")
		r.ok(r.client.V0.EditNodeTags(r.Context(), host, connector.TagEdit{Add: []string{"new"}, Remove: []string{"old"}}))
		r.is("tags", r.sim.Hosts()[0].Tags, []string{"stays", "new"})
		r.ok(r.client.V0.EditNodeTags(r.Context(), host, connector.TagEdit{Remove: []string{"new", "stays"}}))
		r.is("tags", len(r.sim.Hosts()[0].Tags), 0)
	}),
	"v0-nodes-tags-get": v0(func(r *crossRig) {
		host := r.sim.Hosts()[0].Identifier
		r.sim.SetTags(host, "a", "b")
		tags, err := r.client.V0.NodeTags(r.Context(), host)
		r.ok(err)
		r.is("tags", tags, []string{"a", "b"})
	}),
	"v0-nodes-tags-add": v0(func(r *crossRig) {
		host := r.sim.Hosts()[0].Identifier
		r.sim.SetTags(host)
		r.ok(r.client.V0.AddNodeTags(r.Context(), host, "a", "b"))
		r.is("tags", r.sim.Hosts()[0].Tags, []string{"a", "b"})
	}),
	"v0-nodes-search-export": v0(func(r *crossRig) {
		host, query, condition := hostWithMatch(r)
		var out bytes.Buffer
		_, err := r.client.V0.ExportSearch(r.Context(), condition, host, &out)
		r.ok(err)
		r.is("first line", strings.HasPrefix(out.String(), host+","+query+","), true)
		_, err = r.client.V0.ExportSearch(r.Context(), connector.Where("path", connector.OpContains, "no such path"), host, &out)
		r.is("nothing", errors.Is(err, connector.ErrRefused), true)
	}),
	"v0-nodes-query-result": v0(func(r *crossRig) {
		host, query := hostWithResults(r)
		tables, err := r.client.V0.QueryResults(r.Context(), connector.V0TableQuery{Host: host, Length: 1})
		r.ok(err)
		table := tables[query]
		r.is("table", len(table.Rows) == 1 && table.Total > 1 && table.Found == table.Total && len(table.Columns) > 0, true)
		_, err = r.client.V0.QueryResults(r.Context(), connector.V0TableQuery{Host: "nobody"})
		r.is("nobody", errors.Is(err, connector.ErrNotFound), true)
	}),
	"v0-nodes-activity": v0(func(r *crossRig) {
		host, query := hostWithResults(r)
		activity, err := r.client.V0.Activity(r.Context(), host, time.Time{})
		r.ok(err)
		r.is("host", activity.Identifier, host)
		r.is("query", slices.Contains(activity.Queries, query), true)
	}),
	"v0-schema": v0(func(r *crossRig) {
		tables, err := r.client.V0.Tables(r.Context())
		r.ok(err)
		r.is("processes", slices.ContainsFunc(tables, func(t connector.SchemaTable) bool { return t.Name == "processes" && len(t.Columns) > 0 }), true)
	}),
	"v0-schema-get": v0(func(r *crossRig) {
		table, err := r.client.V0.Table(r.Context(), "processes")
		r.ok(err)
		r.is("columns", slices.ContainsFunc(table.Columns, func(c connector.SchemaColumn) bool { return c.Name == "pid" }), true)
		_, err = r.client.V0.Table(r.Context(), "nothing")
		r.is("nothing", errors.Is(err, connector.ErrNotFound), true)
	}),
	"v0-distributed-add": v0(func(r *crossRig) {
		host := r.sim.Hosts()[0]
		id, err := r.client.V0.LiveQuery(r.Context(), connector.LiveQuery{SQL: "select * from system_info", Hosts: []string{host.Identifier}})
		r.ok(err)
		results, err := r.client.Queries.Results(r.Context(), connector.LiveTicket{QueryID: id, Online: 1}, time.Minute)
		r.ok(err)
		r.is("host", results.Hosts[0].NodeID, host.ID)
		_, err = r.client.V0.LiveQuery(r.Context(), connector.LiveQuery{SQL: "select 1"})
		r.is("no target", errors.Is(err, connector.ErrEmptyTarget), true)
	}),
	"v0-queries": v0(func(r *crossRig) {
		id := addQuery(r, "mine")
		page, err := r.client.V0.Queries(r.Context())
		r.ok(err)
		i := slices.IndexFunc(page.Results, func(q connector.ScheduledQuery) bool { return q.ID == id })
		r.is("query", page.Results[i].SQL, "select * from processes;")
	}),
	"v0-queries-packed": v0(func(r *crossRig) {
		_, err := r.client.V0.AddPack(r.Context(), somePack("mine"))
		r.ok(err)
		page, err := r.client.V0.PackedQueries(r.Context())
		r.ok(err)
		i := slices.IndexFunc(page.Results, func(q connector.ScheduledQuery) bool { return q.Name == "mine_query" })
		r.is("packs", page.Results[i].Packs, []string{"mine"})
	}),
	"v0-queries-get": v0(func(r *crossRig) {
		q, err := r.client.V0.Query(r.Context(), addQuery(r, "mine"))
		r.ok(err)
		r.is("query", []any{q.Name, q.SQL, q.Interval, q.Tags}, []any{"mine", "select * from processes;", time.Minute, []string{"board"}})
		_, err = r.client.V0.Query(r.Context(), 4711)
		r.is("unknown", errors.Is(err, connector.ErrNotFound), true)
	}),
	"v0-queries-add": v0(func(r *crossRig) {
		r.is("id", addQuery(r, "mine") > 0, true)
		_, err := r.client.V0.AddQuery(r.Context(), connector.ScheduledQuery{Name: "mine", SQL: "select 1", Interval: time.Minute})
		r.is("name is taken", errors.Is(err, connector.ErrRefused), true)
	}),
	"v0-queries-update": v0(func(r *crossRig) {
		id := addQuery(r, "mine")
		now, err := r.client.V0.UpdateQuery(r.Context(), id, connector.ScheduledQuery{Name: "ours", SQL: "select pid from processes;", Interval: time.Hour})
		if err != nil && !errors.Is(err, connector.ErrConflict) { // a release may leave it as it is
			r.Fatal(err)
		}
		read, readErr := r.client.V0.Query(r.Context(), id)
		r.ok(readErr)
		r.is("query", []any{read.Name, read.Interval, err == nil}, []any{now.Name, now.Interval, read.Name == "ours"})
	}),
	"v0-queries-tag-edit": v0(func(r *crossRig) {
		id := addQuery(r, "mine")
		r.ok(r.client.V0.EditQueryTags(r.Context(), id, connector.TagEdit{Add: []string{"new"}, Remove: []string{"board"}}))
		tags, err := r.client.V0.QueryTags(r.Context(), id)
		r.ok(err)
		r.is("tags", tags, []string{"new"})
	}),
	"v0-queries-tags-get": v0(func(r *crossRig) {
		tags, err := r.client.V0.QueryTags(r.Context(), addQuery(r, "mine"))
		r.ok(err)
		r.is("tags", tags, []string{"board"})
	}),
	"v0-queries-tags-add": v0(func(r *crossRig) {
		id := addQuery(r, "mine")
		r.ok(r.client.V0.AddQueryTags(r.Context(), id, "a", "b"))
		tags, err := r.client.V0.QueryTags(r.Context(), id)
		r.ok(err)
		r.is("tags", tags, []string{"board", "a", "b"})
	}),
	"v0-packs": v0(func(r *crossRig) {
		id, err := r.client.V0.AddPack(r.Context(), somePack("mine"))
		r.ok(err)
		page, err := r.client.V0.Packs(r.Context())
		r.ok(err)
		i := slices.IndexFunc(page.Results, func(p connector.Pack) bool { return p.ID == id })
		r.is("queries", page.Results[i].Names, []string{"mine_query"})
	}),
	"v0-packs-get": v0(func(r *crossRig) {
		id, err := r.client.V0.AddPack(r.Context(), somePack("mine"))
		r.ok(err)
		p, err := r.client.V0.Pack(r.Context(), id)
		r.ok(err)
		r.is("pack", []any{p.Name, p.Tags, p.Names}, []any{"mine", []string{"board"}, []string{"mine_query"}})
		_, err = r.client.V0.Pack(r.Context(), 4711)
		r.is("unknown", errors.Is(err, connector.ErrNotFound), true)
	}),
	"v0-packs-add": v0(func(r *crossRig) {
		id, err := r.client.V0.AddPack(r.Context(), somePack("mine"))
		r.ok(err)
		p, err := r.client.V0.Pack(r.Context(), id)
		r.ok(err)
		r.is("name", p.Name, "mine")
	}),
	"v0-packs-upload": v0(func(r *crossRig) {
		file := connector.Upload{Name: "theirs.json", Content: []byte(`{"name": "theirs", "tags": "board", "queries": {"q1": {"query": "select * from users;", "interval": 60}}}`)}
		_, err := r.client.V0.UploadPack(r.Context(), file, "General")
		r.ok(err)
		page, err := r.client.V0.Packs(r.Context())
		r.ok(err)
		r.is("pack", slices.ContainsFunc(page.Results, func(p connector.Pack) bool { return p.Name == "theirs" && slices.Equal(p.Names, []string{"q1"}) }), true)
	}),
	"v0-packs-tag-edit": v0(func(r *crossRig) {
		id, err := r.client.V0.AddPack(r.Context(), somePack("mine"))
		r.ok(err)
		r.ok(r.client.V0.EditPackTags(r.Context(), id, connector.TagEdit{Add: []string{"new"}, Remove: []string{"board"}}))
		tags, err := r.client.V0.PackTags(r.Context(), "mine")
		r.ok(err)
		r.is("tags", tags, []string{"new"})
	}),
	"v0-packs-tags-get": v0(func(r *crossRig) {
		_, err := r.client.V0.AddPack(r.Context(), somePack("mine"))
		r.ok(err)
		tags, err := r.client.V0.PackTags(r.Context(), "mine")
		r.ok(err)
		r.is("tags", tags, []string{"board"})
	}),
	"v0-packs-tags-add": v0(func(r *crossRig) {
		_, err := r.client.V0.AddPack(r.Context(), somePack("mine"))
		r.ok(err)
		r.ok(r.client.V0.AddPackTags(r.Context(), "mine", "a", "b"))
		tags, err := r.client.V0.PackTags(r.Context(), "mine")
		r.ok(err)
		r.is("tags", tags, []string{"board", "a", "b"})
	}),
	"v0-tags":     v0(tagsOfServer),
	"v0-tags-add": v0(tagsOfServer),
	"v0-rules": v0(func(r *crossRig) {
		id := addRule(r, "mine")
		page, err := r.client.V0.Rules(r.Context())
		r.ok(err)
		r.is("rule", slices.ContainsFunc(page.Results, func(rule connector.Rule) bool { return rule.ID == id && rule.Name == "mine" }), true)
	}),
	"v0-rules-get": v0(func(r *crossRig) {
		id := addRule(r, "mine")
		rule, err := r.client.V0.Rule(r.Context(), id)
		r.ok(err)
		r.is("rule", []any{rule.Name, rule.Description, rule.Status, rule.UpdatedAt.IsZero()}, []any{"mine", "made by a test", "ACTIVE", false})
		_, err = r.client.V0.Rule(r.Context(), 4711)
		r.is("unknown", errors.Is(err, connector.ErrNotFound), true)
		same, err := r.client.Rules.Get(r.Context(), id)
		r.ok(err)
		r.is("through the common service", same.Name, "mine")
	}),
	"v0-rules-add": v0(func(r *crossRig) {
		r.is("id", addRule(r, "mine") > 0, true)
		_, err := r.client.V0.AddRule(r.Context(), someRule("mine"))
		r.is("name is taken", errors.Is(err, connector.ErrRefused), true)
	}),
	"v0-rules-update": v0(func(r *crossRig) {
		id, spec := addRule(r, "mine"), someRule("ours")
		spec.Severity, spec.Type, spec.Status = "CRITICAL", "MITRE", "INACTIVE"
		_, err := r.client.V0.UpdateRule(r.Context(), id, spec, "")
		r.is("no consent", errors.Is(err, connector.ErrInvalid), true)
		rule, err := r.client.V0.UpdateRule(r.Context(), id, spec, connector.ReplaceEverything)
		r.ok(err)
		r.is("rule", []any{rule.Name, rule.Status}, []any{"ours", "INACTIVE"})
	}),
	"v0-alerts": v0(func(r *crossRig) {
		host := r.sim.Hosts()[1]
		for i := range 3 {
			r.sim.Raise(ersim.AlertSpec{Host: host.Identifier, Rule: "Odd rule", Columns: map[string]string{"pid": fmt.Sprint(i)}})
		}
		page, err := r.client.V0.Alerts(r.Context(), connector.V0AlertQuery{Host: host.Identifier})
		r.ok(err)
		ids := map[int64]bool{}
		for _, a := range page.Results {
			ids[a.ID] = true
			r.is("alert", []any{a.NodeID, a.RuleName, a.CreatedAt.IsZero(), a.Columns["pid"] != ""}, []any{host.ID, "Odd rule", false, true})
		}
		r.is("different ids", len(ids), 3)
		again, err := r.client.V0.Alerts(r.Context(), connector.V0AlertQuery{RuleID: page.Results[0].RuleID})
		r.ok(err)
		r.is("the same again", again.Results, page.Results)
		_, err = r.client.V0.Alerts(r.Context(), connector.V0AlertQuery{})
		r.is("of all", errors.Is(err, connector.ErrRefused), true)
	}),
	"v0-alerts-data": v0(func(r *crossRig) {
		host := r.sim.Hosts()[1]
		id := r.sim.Raise(ersim.AlertSpec{Host: host.Identifier, Source: "virustotal", Intel: map[string]any{"total": 70}})
		a, err := r.client.V0.AlertData(r.Context(), id)
		r.ok(err)
		r.is("alert", []any{a.ID, a.NodeID, a.Source, string(a.Intel)}, []any{id, host.ID, "virustotal", `{"total":70}`})
		_, err = r.client.V0.AlertData(r.Context(), 4711)
		r.is("unknown", errors.Is(err, connector.ErrNotFound), true)
	}),
	"v0-email-configure": v0(func(r *crossRig) {
		now, err := r.client.V0.ConfigureEmail(r.Context(), someEmail())
		r.ok(err)
		password, err := now.Password.Reveal()
		r.ok(err)
		r.is("settings", []any{now.From, now.Server, now.Port, now.To, password}, []any{"er@example.com", "smtp.example.com", 587, []string{"soc@example.com"}, "s3cret!"})
		r.is("in a log", strings.Contains(fmt.Sprint(now), "s3cret"), false)
	}),
	"v0-email-test": v0(func(r *crossRig) {
		r.ok(r.client.V0.TestEmail(r.Context(), someEmail()))
		mails := r.sim.Mails()
		r.is("mails", len(mails), 1)
		r.is("to", mails[0].To, []string{"soc@example.com"})
	}),
	"v0-response":             v0(commands),
	"v0-response-get":         v0(commands),
	"v0-response-add-file":    v0(commands),
	"v0-response-add-process": v0(commands),
	"v0-carves": v0(func(r *crossRig) {
		host, query := carved(r)
		carve := carveDone(r, query, host)
		page, err := r.client.V0.Carves(r.Context(), host)
		r.ok(err)
		r.is("carves", len(page.Results), 1)
		r.is("carve", page.Results[0], carve)
		all, err := r.client.V0.Carves(r.Context(), "")
		r.ok(err)
		r.is("of all hosts", len(all.Results), 1)
	}),
	"v0-carves-download": v0(func(r *crossRig) {
		host, query := carved(r)
		var out bytes.Buffer
		info, err := r.client.V0.DownloadCarve(r.Context(), carveDone(r, query, host).SessionID, &out)
		r.ok(err)
		r.is("bytes", info.Bytes == int64(out.Len()) && out.Len() > 0, true)
	}),
	"v0-carves-query": v0(func(r *crossRig) {
		host, query := carved(r)
		r.is("session", carveDone(r, query, host).SessionID != "", true)
		_, err := r.client.V0.CarveByQuery(r.Context(), 4711, host)
		r.is("unknown", errors.Is(err, connector.ErrNotFound), true)
	}),
	"v0-carves-query-path": v0(func(r *crossRig) {
		host, query := carved(r)
		want := carveDone(r, query, host)
		got, err := r.client.V0.CarveByQueryPath(r.Context(), query, host)
		r.ok(err)
		r.is("carve", got, want)
	}),
	"v0-yara":     v0(yaraFiles),
	"v0-yara-add": v0(yaraFiles),
	"v0-iocs":     v0(indicators),
	"v0-iocs-add": v0(indicators),
	"v0-hunt-upload": v0(func(r *crossRig) {
		const sum = "d41d8cd98f00b204e9800998ecf8427e"
		host := r.sim.Hosts()[0]
		r.sim.Raise(ersim.AlertSpec{Host: host.Identifier, Rule: "Odd rule", Query: "win_process_events", Columns: map[string]string{"md5": sum, "pid": "7"}})
		hunt := connector.V0Hunt{Type: "md5", File: connector.IndicatorFile(sum, "0123")}
		hits, err := r.client.V0.Hunt(r.Context(), hunt)
		r.ok(err)
		r.is("hits", len(hits) == 1 && hits[0].Host == host.Identifier && len(hits[0].Queries) == 1, true)
		hunt.Host, hunt.Query = host.Identifier, hits[0].Queries[0].Query
		page, err := r.client.V0.HuntRows(r.Context(), hunt)
		r.ok(err)
		r.is("row", page.Results[0]["md5"], sum)
		hunt.Type = "sha1"
		_, err = r.client.V0.Hunt(r.Context(), hunt)
		r.is("type", errors.Is(err, connector.ErrInvalid), true)
	}),
	"v0-search": v0(func(r *crossRig) {
		host, query, condition := hostWithMatch(r)
		hits, err := r.client.V0.Search(r.Context(), condition)
		r.ok(err)
		i := slices.IndexFunc(hits, func(h connector.HostHits) bool { return h.Host == host })
		r.is("query", slices.ContainsFunc(hits[i].Queries, func(q connector.QueryHits) bool { return q.Query == query && q.Count > 0 }), true)
		page, err := r.client.V0.SearchRows(r.Context(), connector.V0SearchQuery{Condition: condition, Host: host, Query: query, Limit: 1})
		r.ok(err)
		r.is("rows", len(page.Results), 1)
	}),
	"v0-queryresult-delete": v0(func(r *crossRig) { purge(r, r.client.V0.DeleteResults) }),
	"v0-queryresult-get":    v0(func(r *crossRig) { purge(r, r.client.V0.DeleteResultsOlder) }),
	"v0-schedule-export": v0(func(r *crossRig) {
		host, query := hostWithResults(r)
		var out bytes.Buffer
		_, err := r.client.V0.ExportScheduled(r.Context(), host, query, &out)
		r.ok(err)
		r.is("lines", strings.Count(out.String(), "\n") > 2, true)
	}),
	"v0-apikeys-get": v0(feedKeys),
	"v0-apikeys-set": v0(feedKeys),
	"v0-options-add": v0(func(r *crossRig) {
		options := map[string]json.RawMessage{"disable_watchdog": json.RawMessage("false")}
		err := r.client.V0.AddOptions(r.Context(), options, "")
		r.is("no consent", errors.Is(err, connector.ErrInvalid), true)
		r.ok(r.client.V0.AddOptions(r.Context(), options, connector.ReplaceEverything))
		if config, err := r.client.V0.NodeConfig(r.Context(), r.sim.Hosts()[0].Identifier); !errors.Is(err, connector.ErrUnavailable) {
			r.ok(err)
			r.is("options", config.Options, options)
		}
	}),
}

func v0(test func(*crossRig)) cross { return cross{profile: "2.0", test: test} }

// TestV0OfRelease212 makes the calls of release 2.1.2 on it, beside API v1.
func TestV0OfRelease212(t *testing.T) {
	for id, one := range crossV0 {
		if slices.Contains([]string{ // gone there, or of the Enterprise edition
			"v0-node-config", "v0-node-config-assign", "v0-node-config-remove", "v0-configs-get", "v0-configs-add", "v0-configs-update",
			"v0-configs-platform-get", "v0-response", "v0-response-get", "v0-response-add-file", "v0-response-add-process",
		}, id) {
			continue
		}
		t.Run(id, func(t *testing.T) {
			one.profile = "2.1.2"
			r := newCrossRig(t, one)
			one.test(r)
			if r.sim.Calls()[id] == 0 {
				t.Errorf("the simulator was not asked; it was asked for %v", r.sim.Calls())
			}
		})
	}
}

// What release 2.1.2 gave up is not available there, and nothing else.
func TestV0GoneIn212(t *testing.T) {
	r := newCrossRig(t, cross{profile: "2.1.2"})
	ctx, host := r.Context(), r.sim.Hosts()[0].Identifier
	for name, call := range map[string]func() error{
		"node config":     func() error { _, err := r.client.V0.NodeConfig(ctx, host); return err },
		"assign":          func() error { return r.client.V0.AssignNodeConfig(ctx, host, 1) },
		"remove":          func() error { return r.client.V0.RemoveNodeConfig(ctx, host) },
		"config":          func() error { _, err := r.client.V0.Config(ctx, 1); return err },
		"add config":      func() error { _, err := r.client.V0.AddConfig(ctx, "a", json.RawMessage("{}")); return err },
		"platform config": func() error { _, err := r.client.V0.PlatformConfig(ctx, "linux"); return err },
		"responses":       func() error { _, err := r.client.V0.Responses(ctx); return err },
		"stop": func() error {
			_, err := r.client.V0.StopProcess(ctx, connector.V0StopProcess{Hostname: "a", PID: 1})
			return err
		},
	} {
		if err := call(); !errors.Is(err, connector.ErrUnavailable) || errors.Is(err, connector.ErrUncertain) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func nodeConfig(r *crossRig) {
	ctx, host := r.Context(), r.sim.Hosts()[0].Identifier
	stock, err := r.client.V0.NodeConfig(ctx, host)
	r.ok(err)
	r.is("schedule", len(stock.Schedule) > 1, true)
	id, err := r.client.V0.AddConfig(ctx, "mine", json.RawMessage(`{"schedule": {"one": {"query": "select 1", "interval": 10}}}`))
	r.ok(err)
	r.ok(r.client.V0.AssignNodeConfig(ctx, host, id))
	mine, err := r.client.V0.NodeConfig(ctx, host)
	r.ok(err)
	r.is("assigned", len(mine.Schedule) == 1 && mine.Schedule[0].Name == "one", true)
	r.ok(r.client.V0.RemoveNodeConfig(ctx, host))
	again, err := r.client.V0.NodeConfig(ctx, host)
	r.ok(err)
	r.is("removed", len(again.Schedule), len(stock.Schedule))
	r.is("nobody", errors.Is(r.client.V0.AssignNodeConfig(ctx, "nobody", id), connector.ErrRefused), true)
}

func configByID(r *crossRig) {
	ctx := r.Context()
	id, err := r.client.V0.AddConfig(ctx, "mine", json.RawMessage(`{"a": 1}`))
	r.ok(err)
	got, err := r.client.V0.Config(ctx, id)
	r.ok(err)
	r.is("config", []any{got.ID, got.Name, string(got.Config)}, []any{id, "mine", `{"a":1}`})
	got, err = r.client.V0.UpdateConfig(ctx, id, "ours", json.RawMessage(`{"b": 2}`))
	r.ok(err)
	r.is("updated", []any{got.Name, string(got.Config)}, []any{"ours", `{"b":2}`})
	_, err = r.client.V0.Config(ctx, 4711)
	r.is("unknown", errors.Is(err, connector.ErrNotFound), true)
	_, err = r.client.V0.AddConfig(ctx, "mine", json.RawMessage(`[1]`))
	r.is("no object", errors.Is(err, connector.ErrInvalid), true)
}

func tagsOfServer(r *crossRig) {
	r.ok(r.client.V0.AddTags(r.Context(), "fresh", "board"))
	page, err := r.client.V0.Tags(r.Context())
	r.ok(err)
	for _, want := range []string{"fresh", "board"} {
		r.is(want, slices.ContainsFunc(page.Results, func(tag connector.Tag) bool { return tag.Name == want }), true)
	}
}

func commands(r *crossRig) {
	ctx, host := r.Context(), hostOf(r.T, r.sim, "windows")
	deleted, err := r.client.V0.DeleteFile(ctx, connector.V0DeleteFile{Hostname: host.Name, Path: host.Files[0]})
	r.ok(err)
	stopped, err := r.client.V0.StopProcess(ctx, connector.V0StopProcess{Hostname: host.Name, PID: 1 << 20})
	r.ok(err)
	one, err := r.client.V0.Response(ctx, deleted)
	r.ok(err)
	r.is("command", []any{one.CommandID, bytes.Contains(one.Command, []byte(`"endpoint":"polylogyx_vasp"`))}, []any{deleted, true})
	page, err := r.client.V0.Responses(ctx)
	r.ok(err)
	var ids []string
	for _, h := range page.Results {
		ids = append(ids, h.CommandID)
	}
	slices.Sort(ids)
	want := []string{deleted, stopped}
	slices.Sort(want)
	r.is("commands", ids, want)
	_, err = r.client.V0.StopProcess(ctx, connector.V0StopProcess{Hostname: "nobody", PID: 1})
	r.is("nobody", errors.Is(err, connector.ErrRefused), true)
}

// carved starts a carve with a live query.
func carved(r *crossRig) (host string, query int64) {
	target := hostOf(r.T, r.sim, "windows")
	query, err := r.client.V0.LiveQuery(r.Context(), connector.LiveQuery{Hosts: []string{target.Identifier},
		SQL: "select * from carves where carve = 1 and path = '" + target.Files[0] + "'"})
	r.ok(err)
	_, err = r.client.Queries.Results(r.Context(), connector.LiveTicket{QueryID: query, Online: 1}, time.Minute)
	r.ok(err)
	return target.Identifier, query
}

func carveDone(r *crossRig, query int64, host string) connector.Carve {
	for {
		carve, err := r.client.V0.CarveByQuery(r.Context(), query, host)
		if err != nil && !errors.Is(err, connector.ErrNotFound) {
			r.Fatal(err)
		}
		if carve.Done() {
			return carve
		}
	}
}

func yaraFiles(r *crossRig) {
	r.ok(r.client.V0.AddYARA(r.Context(), connector.Upload{Name: "Mine.YARA", Content: []byte("rule a { condition: true }")}))
	names, err := r.client.V0.YARA(r.Context())
	r.ok(err)
	r.is("file", slices.Contains(names, "mine.yara"), true)
}

func indicators(r *crossRig) {
	set := map[string]connector.IOC{"bad names": {Type: "domain_name", Severity: "WARNING", Values: []string{"a.example", "b.example"}}}
	err := r.client.V0.ReplaceIOCs(r.Context(), set, "")
	r.is("no consent", errors.Is(err, connector.ErrInvalid), true)
	r.ok(r.client.V0.ReplaceIOCs(r.Context(), set, connector.ReplaceEverything))
	now, err := r.client.V0.IOCs(r.Context())
	r.ok(err)
	r.is("lists", len(now), 1)
	r.is("values", now["bad names"].Values, set["bad names"].Values)
}

func feedKeys(r *crossRig) {
	keys := connector.APIKeys{VirusTotal: soar.SecretValue("vt"), XForceKey: soar.SecretValue("k"), XForcePass: soar.SecretValue("p")}
	_, err := r.client.V0.SetAPIKeys(r.Context(), keys)
	r.ok(err)
	now, err := r.client.V0.APIKeys(r.Context())
	r.ok(err)
	text, err := now.XForcePass.Reveal()
	r.ok(err)
	r.is("keys", []any{text, now.AlienVault.IsSet(), now.VirusTotal.IsSet()}, []any{"p", false, true})
	_, err = r.client.V0.SetAPIKeys(r.Context(), connector.APIKeys{XForceKey: soar.SecretValue("k")})
	r.is("half", errors.Is(err, connector.ErrInvalid), true)
}

func someEmail() connector.EmailSettings {
	return connector.EmailSettings{From: "er@example.com", Server: "smtp.example.com", Port: 587, Password: soar.SecretValue("s3cret!"), To: []string{"soc@example.com"}}
}

func someRule(name string) connector.RuleSpec {
	return connector.RuleSpec{Name: name, Description: "made by a test", Condition: connector.Where("path", connector.OpContains, "evil")}
}

func addRule(r *crossRig, name string) int64 {
	id, err := r.client.V0.AddRule(r.Context(), someRule(name))
	r.ok(err)
	return id
}

func addQuery(r *crossRig, name string) int64 {
	id, err := r.client.V0.AddQuery(r.Context(), connector.ScheduledQuery{
		Name: name, SQL: "select * from processes;", Interval: time.Minute, Tags: []string{"board"}, Snapshot: true})
	r.ok(err)
	return id
}

func somePack(name string) connector.NewPack {
	return connector.NewPack{Name: name, Tags: []string{"board"},
		Queries: []connector.ScheduledQuery{{Name: name + "_query", SQL: "select * from users;", Interval: time.Minute}}}
}

// hostWithResults is a host, and a query that has reported more than one row of it.
func hostWithResults(r *crossRig) (host, query string) {
	host, query = r.sim.Hosts()[0].Identifier, "win_process_events"
	for i := range 3 {
		r.sim.Raise(ersim.AlertSpec{Host: host, Rule: "Odd rule", Query: query, Columns: map[string]string{"path": "odd", "pid": fmt.Sprint(i)}})
	}
	return host, query
}

// hostWithMatch is a host with an event that fits a condition.
func hostWithMatch(r *crossRig) (host, query string, condition connector.Condition) {
	h := r.sim.Hosts()[0]
	r.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Rule: "Odd rule", Query: "win_process_events",
		Columns: map[string]string{"path": `C:\odd\place.exe`, "pid": "7"}})
	return h.Identifier, "win_process_events", connector.Where("path", connector.OpContains, `odd\place`)
}

// purge deletes old results; those of today stay.
func purge(r *crossRig, call func(context.Context, int, connector.Consent) error) {
	host, query := hostWithResults(r)
	before, err := r.client.V0.ScheduleResults(r.Context(), connector.V0ResultQuery{Host: host, Query: query})
	r.ok(err)
	r.is("no consent", errors.Is(call(r.Context(), 1, ""), connector.ErrInvalid), true)
	r.is("no day", errors.Is(call(r.Context(), 0, connector.PurgeOldData), connector.ErrInvalid), true)
	r.ok(call(r.Context(), 1, connector.PurgeOldData))
	after, err := r.client.V0.ScheduleResults(r.Context(), connector.V0ResultQuery{Host: host, Query: query})
	r.ok(err)
	r.is("fewer", len(after.Results) <= len(before.Results), true)
}
