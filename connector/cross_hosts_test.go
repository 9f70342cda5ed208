package connector_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
)

var crossHosts = map[string]cross{
	"hosts-list": {test: func(r *crossRig) {
		page, err := r.client.Hosts.Page(r.Context(), connector.HostQuery{Limit: 4})
		r.ok(err)
		r.is("rows", len(page.Results), 4)
		r.is("total", page.Total, 6)
		r.raise("WEB-01", "rule", "Encoded PowerShell")
		page, err = r.client.Hosts.Page(r.Context(), connector.HostQuery{Platform: "linux", Column: "health", Desc: true})
		r.ok(err)
		r.is("linux hosts", names(page.Results), []string{"WEB-01"})
		r.is("alerts", page.Results[0].AlertCount, 1)
		page, err = r.client.Hosts.Page(r.Context(), connector.HostQuery{Search: "workstation", Brief: true, Column: "host"})
		r.ok(err)
		r.is("workstations", names(page.Results), []string{"MAC-DESIGN-01", "WIN-DEV-01", "WIN-FIN-01", "WIN-HR-01"})
		r.is("tags of a brief row", page.Results[0].Tags, []string(nil))
	}},
	"hosts-export-filtered": {user: "analyst", test: func(r *crossRig) {
		r.raise("WIN-DC-01", "rule", "Encoded PowerShell")
		table := r.export(func(w io.Writer) (int64, error) {
			return r.client.Hosts.Export(r.Context(), connector.HostQuery{Platform: "windows", Search: "server", Column: "host"}, w)
		})
		r.is("hosts", column(table, "hostname"), []string{"WIN-DC-01"})
		r.is("row", []string{table[0]["id"], table[0]["health"], table[0]["state"], table[0]["alerts count"], table[0]["tags"]},
			[]string{"4", "Unsafe", "online", "1", "['server', 'domain-controller']"})
		table = r.export(func(w io.Writer) (int64, error) {
			return r.client.Hosts.Export(r.Context(), connector.HostQuery{Search: "nobody"}, w)
		})
		r.is("rows of an empty export", len(table), 0)
		_, err := r.client.Hosts.Export(r.Context(), connector.HostQuery{Brief: true}, io.Discard)
		r.fails("brief export", err, connector.ErrInvalid)
	}},
	"hosts-export-all": {test: func(r *crossRig) {
		r.ok(r.client.Hosts.Deactivate(r.Context(), "3"))
		table := r.export(func(w io.Writer) (int64, error) { return r.client.Hosts.ExportAll(r.Context(), w) })
		r.is("ids, newest first", column(table, "id"), []string{"6", "5", "4", "3", "2", "1"})
		r.is("platform", table[3]["platform"], "ubuntu")
	}},
	"hosts-get": {test: func(r *crossRig) {
		want := r.sim.Hosts()[2]
		for _, ref := range []string{"3", want.Identifier} {
			h, err := r.client.Hosts.Get(r.Context(), ref)
			r.ok(err)
			r.is("host", []string{h.Identifier, h.Name, h.Platform, h.LastIP}, []string{want.Identifier, want.Name, want.Platform, want.IP})
		}
		_, err := r.client.Hosts.Get(r.Context(), want.Name)
		r.fails("host by name", err, connector.ErrNotFound)
	}},
	"hosts-alert-distribution": {test: func(r *crossRig) {
		r.raise("WIN-FIN-01", "rule", "Encoded PowerShell")
		r.raise("WIN-FIN-01", "rule", "Encoded PowerShell")
		r.raise("WIN-FIN-01", "rule", "Shadow copies deleted")
		r.raise("WIN-FIN-01", "virustotal", "")
		done := r.raise("WIN-FIN-01", "rule", "Shadow copies deleted")
		r.ok(r.client.Alerts.Resolve(r.Context(), []int64{done}, true, ""))
		d, err := r.client.Hosts.AlertDistribution(r.Context(), "1")
		r.ok(err)
		r.is("rules", d.Sources["rule"], connector.SourceAlerts{
			Severities: map[string]int{"INFO": 0, "LOW": 0, "MEDIUM": 0, "HIGH": 2, "CRITICAL": 1}, Total: 3,
		})
		r.is("feed", d.Sources["virustotal"].Total, 1)
		r.is("top rules", d.Rules, []connector.RuleAlerts{{Rule: "Encoded PowerShell", Count: 2}, {Rule: "Shadow copies deleted", Count: 1}})
		_, err = r.client.Hosts.AlertDistribution(r.Context(), "99")
		r.fails("unknown host", err, connector.ErrNotFound)
	}},
	"hosts-count": {test: func(r *crossRig) {
		r.sim.SetOnline("MAC-DESIGN-01", false)
		r.ok(r.client.Hosts.Deactivate(r.Context(), "1"))
		counts, err := r.client.Hosts.Count(r.Context())
		r.ok(err)
		r.is("counts", counts, map[string]connector.PlatformCount{
			"windows": {Online: 3, Removed: 1}, "linux": {Online: 1}, "darwin": {Offline: 1},
		})
	}},
	"hosts-additional-config": {test: func(r *crossRig) {
		r.assignAll("finance")
		config, err := r.client.Hosts.AdditionalConfig(r.Context(), r.sim.Hosts()[0].Identifier)
		r.ok(err)
		r.is("tags", config.Tags, []string{"workstation", "finance"})
		if len(config.Packs) != 1 || len(config.Queries) != 1 {
			r.Fatalf("got %d packs and %d queries, want one of each: %+v", len(config.Packs), len(config.Queries), config)
		}
		if q := config.Queries[0]; q.Name == "" || q.SQL == "" || q.Interval <= 0 || !slices.Equal(q.Tags, []string{"finance"}) {
			r.Errorf("query: %+v", q)
		}
		if p := config.Packs[0]; p.ID == 0 || p.Name == "" || len(p.Queries) == 0 || p.Queries[0].SQL == "" {
			r.Errorf("pack: %+v", p)
		}
		other, err := r.client.Hosts.AdditionalConfig(r.Context(), "3")
		r.ok(err)
		r.is("queries of a host without the tag", len(other.Queries)+len(other.Packs), 0)
		_, err = r.client.Hosts.AdditionalConfig(r.Context(), "NOPE")
		r.fails("unknown host", err, connector.ErrNotFound)
	}},
	"hosts-full-config": {test: func(r *crossRig) {
		r.assignAll("finance")
		config, err := r.client.Hosts.FullConfig(r.Context(), "1")
		r.ok(err)
		r.is("config", config.ConfigName, "Default")
		r.is("an option", string(config.Options["schedule_splay_percent"]), "10")
		r.is("packs", len(config.Packs), 1)
		r.is("filters", config.Other["win_include_paths"] != nil, true)
		tagged := slices.ContainsFunc(config.Schedule, func(q connector.HostQueryConfig) bool { return slices.Contains(q.Tags, "finance") })
		r.is("schedule has the query by tag", tagged, true)
		r.is("schedule has more than that", len(config.Schedule) > 1, true)
		_, err = r.client.Hosts.FullConfig(r.Context(), "99")
		r.fails("unknown host", err, connector.ErrNotFound)
	}},
	"hosts-activity-count": {test: func(r *crossRig) {
		r.report(5)
		counts, err := r.client.Hosts.ActivityCount(r.Context(), "1")
		r.ok(err)
		r.is("counts", counts, []connector.QueryActivity{{Query: realTime, Count: 5}})
		counts, err = r.client.Hosts.ActivityCount(r.Context(), "99")
		r.ok(err) // as the server has it
		r.is("unknown id", len(counts), 0)
		_, err = r.client.Hosts.ActivityCount(r.Context(), "NOPE")
		r.fails("unknown identifier", err, connector.ErrNotFound)
	}},
	"hosts-activity": {test: func(r *crossRig) {
		r.report(7)
		page, err := r.client.Hosts.ActivityPage(r.Context(), "1", connector.ActivityQuery{Query: realTime, Limit: 3})
		r.ok(err)
		r.is("counts", []int{page.Count, page.Total}, []int{7, 7})
		r.is("newest first", cmdlines(page.Results), []string{"tool 6", "tool 5", "tool 4"})
		if at := page.Results[0].Timestamp; at.IsZero() || r.client.ClockOffset().Abs() > 1e12 {
			r.Errorf("timestamp %v", at)
		}
		page, err = r.client.Hosts.ActivityPage(r.Context(), "1", connector.ActivityQuery{Query: realTime, Limit: 3, Start: page.Results[2].ID})
		r.ok(err)
		r.is("after the last id", cmdlines(page.Results), []string{"tool 3", "tool 2", "tool 1"})
		page, err = r.client.Hosts.ActivityPage(r.Context(), "1", connector.ActivityQuery{Query: realTime, Column: "cmdline", Values: []string{"tool 1", "tool 5"}})
		r.ok(err)
		r.is("by column", cmdlines(page.Results), []string{"tool 5", "tool 1"})
		page, err = r.client.Hosts.ActivityPage(r.Context(), "1", connector.ActivityQuery{Query: realTime, Search: "TOOL 2"})
		r.ok(err)
		r.is("by text", cmdlines(page.Results), []string{"tool 2"})
		r.is("counts with a search", []int{page.Count, page.Total}, []int{1, 7})
		var all []connector.ActivityEvent
		for e, err := range r.client.Hosts.Activity(r.Context(), "1", connector.ActivityQuery{Query: realTime, Limit: 2}) {
			r.ok(err)
			if all = append(all, e); len(all) == 1 {
				r.report(1) // comes in front and disturbs nothing
			}
		}
		r.is("walk", len(all), 7)
	}},
	"hosts-activity-export": {test: func(r *crossRig) {
		r.report(4)
		table := r.export(func(w io.Writer) (int64, error) {
			return r.client.Hosts.ExportActivity(r.Context(), "1", connector.ActivityExport{Query: realTime}, w)
		})
		r.is("rows", column(table, "cmdline"), []string{"tool 0", "tool 1", "tool 2", "tool 3"})
		table = r.export(func(w io.Writer) (int64, error) {
			return r.client.Hosts.ExportActivity(r.Context(), "1", connector.ActivityExport{Query: realTime, Column: "cmdline", Values: []string{"tool 2"}}, w)
		})
		r.is("rows by column", column(table, "cmdline"), []string{"tool 2"})
		where := connector.And(connector.Where("process_name", connector.OpContains, "TOOL"), connector.Where("process_name", connector.OpNotEqual, "tool 0"))
		table = r.export(func(w io.Writer) (int64, error) {
			return r.client.Hosts.ExportActivity(r.Context(), "1", connector.ActivityExport{Query: realTime, Where: &where}, w)
		})
		r.is("rows by conditions", column(table, "cmdline"), []string{"tool 1", "tool 2", "tool 3"})
		var out bytes.Buffer
		_, err := r.client.Hosts.ExportActivity(r.Context(), "2", connector.ActivityExport{Query: realTime}, &out)
		r.fails("no rows", err, connector.ErrRefused)
		r.is("bytes of a refused export", out.Len(), 0)
	}},
	"hosts-tags-list": {user: "analyst", test: func(r *crossRig) {
		tags, err := r.client.Hosts.Tags(r.Context(), "4")
		r.ok(err)
		r.is("tags", tags, []string{"server", "domain-controller"})
		_, err = r.client.Hosts.Tags(r.Context(), "99")
		r.fails("unknown host", err, connector.ErrNotFound)
	}},
	"hosts-tags-add": {test: func(r *crossRig) {
		for range 2 { // the second time it has the tag already
			r.ok(r.client.Hosts.AddTag(r.Context(), "4", "tier0"))
		}
		tags, err := r.client.Hosts.Tags(r.Context(), "4")
		r.ok(err)
		r.is("tags", tags, []string{"server", "domain-controller", "tier0"})
		r.fails("comma", r.client.Hosts.AddTag(r.Context(), "4", "a,b"), connector.ErrInvalid)
		r.fails("unknown host", r.client.Hosts.AddTag(r.Context(), "NOPE", "tier0"), connector.ErrRefused)
	}},
	"hosts-tags-remove": {test: func(r *crossRig) {
		r.ok(r.client.Hosts.RemoveTag(r.Context(), "4", "server"))
		tags, err := r.client.Hosts.Tags(r.Context(), "4")
		r.ok(err)
		r.is("tags", tags, []string{"domain-controller"})
		r.fails("again", r.client.Hosts.RemoveTag(r.Context(), "4", "server"), connector.ErrRefused)
		r.fails("no such tag", r.client.Hosts.RemoveTag(r.Context(), "4", "nobody-has-it"), connector.ErrRefused)
	}},
	"hosts-deactivate": {test: func(r *crossRig) {
		r.ok(r.client.Hosts.Deactivate(r.Context(), r.sim.Hosts()[2].Identifier))
		r.is("states", r.states("3", "4"), map[string]int{"3": connector.HostRemoved, "4": connector.HostActive})
		r.fails("unknown host", r.client.Hosts.Deactivate(r.Context(), "NOPE"), connector.ErrRefused)
	}},
	"hosts-reactivate": {test: func(r *crossRig) {
		r.fails("active host", r.client.Hosts.Reactivate(r.Context(), "3"), connector.ErrRefused)
		r.ok(r.client.Hosts.Deactivate(r.Context(), "3"))
		r.ok(r.client.Hosts.Reactivate(r.Context(), "3"))
		r.is("state", r.states("3"), map[string]int{"3": connector.HostActive})
	}},
	"hosts-delete": {test: func(r *crossRig) {
		id := r.raise("WEB-01", "rule", "Encoded PowerShell")
		r.fails("no consent", r.client.Hosts.Delete(r.Context(), "3", ""), connector.ErrInvalid)
		r.is("calls without consent", r.sim.Calls()["hosts-delete"], 0)
		r.ok(r.client.Hosts.Delete(r.Context(), "3", connector.DeleteForGood))
		r.is("state", r.states("3"), map[string]int{"3": connector.HostDeleted})
		_, err := r.client.Hosts.Get(r.Context(), "3")
		r.fails("deleted host", err, connector.ErrNotFound)
		page, err := r.client.Alerts.Page(r.Context(), connector.AlertQuery{})
		r.ok(err)
		r.is("alerts in the list", len(page.Results), 0)
		_, err = r.client.Alerts.Get(r.Context(), id) // release 4.0 still has it
		r.ok(err)
	}},
	"hosts-archive-bulk": {test: func(r *crossRig) {
		r.fails("nobody", r.client.Hosts.DeactivateMany(r.Context(), nil), connector.ErrEmptyTarget)
		r.fails("mixed", r.client.Hosts.DeactivateMany(r.Context(), []string{"1", "NOPE"}), connector.ErrInvalid)
		r.ok(r.client.Hosts.DeactivateMany(r.Context(), []string{"1", "2", "99"})) // one of them unknown
		r.is("states", r.states("1", "2", "3", "99"), map[string]int{
			"1": connector.HostRemoved, "2": connector.HostRemoved, "3": connector.HostActive, "99": connector.HostDeleted,
		})
		r.fails("all removed", r.client.Hosts.DeactivateMany(r.Context(), []string{"1", "2"}), connector.ErrRefused)
	}},
	"hosts-enable-bulk": {test: func(r *crossRig) {
		hosts := r.sim.Hosts()
		r.ok(r.client.Hosts.DeactivateMany(r.Context(), []string{hosts[0].Identifier, hosts[1].Identifier}))
		r.ok(r.client.Hosts.ReactivateMany(r.Context(), []string{hosts[1].Identifier, hosts[2].Identifier}))
		r.is("states", r.states("1", "2"), map[string]int{"1": connector.HostRemoved, "2": connector.HostActive})
	}},
	"hosts-delete-bulk": {test: func(r *crossRig) {
		r.fails("no consent", r.client.Hosts.DeleteMany(r.Context(), []string{"1"}, "yes"), connector.ErrInvalid)
		r.fails("nobody", r.client.Hosts.DeleteMany(r.Context(), nil, connector.DeleteForGood), connector.ErrEmptyTarget)
		r.fails("active", r.client.Hosts.DeleteMany(r.Context(), []string{"1"}, connector.DeleteForGood), connector.ErrRefused)
		r.ok(r.client.Hosts.Deactivate(r.Context(), "1"))
		r.ok(r.client.Hosts.DeleteMany(r.Context(), []string{"1", "2"}, connector.DeleteForGood))
		r.is("states", r.states("1", "2"), map[string]int{"1": connector.HostDeleted, "2": connector.HostActive})
	}},
	"hosts-status-logs": {test: func(r *crossRig) {
		page, err := r.client.Hosts.StatusLogPage(r.Context(), "1", connector.StatusLogQuery{Limit: 2})
		r.ok(err)
		r.is("rows", len(page.Results), 2)
		if a, b := page.Results[0], page.Results[1]; !a.Created.After(b.Created) || a.Message == "" || a.Filename == "" || a.Version == "" {
			r.Errorf("rows %+v, %+v", a, b)
		}
		all := r.statusLogs("1", connector.StatusLogQuery{Limit: 2})
		r.is("walk", len(all), page.Total)
		some := r.statusLogs("1", connector.StatusLogQuery{Search: strings.ToUpper(all[0].Filename)})
		want := slices.DeleteFunc(slices.Clone(all), func(l connector.StatusLog) bool { return l.Filename != all[0].Filename })
		r.is("search", some, want)
		_, err = r.client.Hosts.StatusLogPage(r.Context(), "NOPE", connector.StatusLogQuery{})
		r.fails("unknown host", err, connector.ErrNotFound)
	}},
	"hosts-status-logs-export": {test: func(r *crossRig) {
		table := r.export(func(w io.Writer) (int64, error) { return r.client.Hosts.DownloadStatusLogs(r.Context(), "1", 0, w) })
		var messages []string
		for _, l := range r.statusLogs("1", connector.StatusLogQuery{}) {
			messages = append(messages, l.Message)
		}
		r.is("messages", column(table, "message"), messages)
		_, err := r.client.Hosts.ExportStatusLogs(r.Context(), "NOPE")
		r.fails("unknown host", err, connector.ErrNotFound)
	}},
	"ws-csv-export": {user: "analyst", test: func(r *crossRig) {
		task, err := r.client.Hosts.ExportStatusLogs(r.Context(), "2")
		r.ok(err)
		link, err := r.client.Hosts.StatusLogLink(r.Context(), task, 0)
		r.ok(err)
		r.is("link "+link, strings.HasPrefix(link, "/downloads/status_log/status_log_2_") && strings.HasSuffix(link, ".csv"), true)
		_, err = r.client.Hosts.StatusLogLink(r.Context(), connector.StatusLogTask{ID: "no-such-task"}, 0)
		if err == nil {
			r.Error("the link of an unknown task")
		}
	}},

	"tags-list": {user: "analyst", test: func(r *crossRig) {
		page, err := r.client.Tags.Page(r.Context(), connector.TagQuery{Search: "SERVER"})
		r.ok(err)
		hosts := r.sim.Hosts()
		r.is("tags", page.Results, []connector.Tag{{Name: "server", Hosts: []string{hosts[2].Identifier, hosts[3].Identifier}}})
		var byName []string
		for tag, err := range r.client.Tags.List(r.Context(), connector.TagQuery{Order: "asc", Limit: 2}) {
			r.ok(err)
			byName = append(byName, tag.Name)
		}
		r.is("all", byName, []string{"design", "domain-controller", "engineering", "finance", "hr", "server", "web", "workstation"})
	}},
	"tags-add": {test: func(r *crossRig) {
		r.ok(r.client.Tags.Add(r.Context(), "tier0"))
		r.fails("again", r.client.Tags.Add(r.Context(), "tier0"), connector.ErrRefused)
		r.fails("blank", r.client.Tags.Add(r.Context(), "tier 0"), connector.ErrInvalid)
		page, err := r.client.Tags.Page(r.Context(), connector.TagQuery{Limit: 1})
		r.ok(err)
		r.is("newest", page.Results, []connector.Tag{{Name: "tier0"}})
	}},
	"tags-delete": {test: func(r *crossRig) {
		r.ok(r.client.Tags.Delete(r.Context(), "server", connector.DeleteForGood))
		r.is("tags of a host", r.sim.Hosts()[3].Tags, []string{"domain-controller"})
		r.fails("again", r.client.Tags.Delete(r.Context(), "server", connector.DeleteForGood), connector.ErrRefused)
		r.fails("list", r.client.Tags.Delete(r.Context(), "web,hr", connector.DeleteForGood), connector.ErrInvalid)
	}},
	"tags-tagged": {test: func(r *crossRig) {
		r.assignAll("finance")
		tagged, err := r.client.Tags.Tagged(r.Context(), "finance", "hr", "no-such-tag")
		r.ok(err)
		r.is("hosts", names(tagged.Hosts), []string{"WIN-FIN-01", "WIN-HR-01"})
		r.is("packs and queries", []int{len(tagged.Packs), len(tagged.Queries)}, []int{1, 1})
		_, err = r.client.Tags.Tagged(r.Context(), "no-such-tag")
		r.fails("unknown tag", err, connector.ErrNotFound)
		_, err = r.client.Tags.Tagged(r.Context())
		r.fails("no tag", err, connector.ErrEmptyTarget)
	}},
	"tags-assign": {test: func(r *crossRig) {
		hosts := r.sim.Hosts()
		r.fails("unknown tag", r.client.Tags.Assign(r.Context(), "tier0", connector.TagTargets{Hosts: []string{hosts[0].Identifier}}), connector.ErrRefused)
		r.ok(r.client.Tags.Add(r.Context(), "tier0"))
		r.fails("nothing", r.client.Tags.Assign(r.Context(), "tier0", connector.TagTargets{}), connector.ErrEmptyTarget)
		r.fails("unknown host", r.client.Tags.Assign(r.Context(), "tier0", connector.TagTargets{Hosts: []string{"NOPE"}}), connector.ErrRefused)
		r.fails("name of a file", r.client.Tags.Assign(r.Context(), "angular.js", connector.TagTargets{Hosts: []string{"NOPE"}}), connector.ErrInvalid)
		r.ok(r.client.Tags.Assign(r.Context(), "tier0", connector.TagTargets{Hosts: []string{hosts[0].Identifier, "NOPE"}, Systems: []string{"macOS"}}))
		tagged, err := r.client.Tags.Tagged(r.Context(), "tier0")
		r.ok(err)
		r.is("hosts", names(tagged.Hosts), []string{"WIN-FIN-01", "MAC-DESIGN-01"})
	}},
}

// realTime is the query that release 4.0 has for all that happens on Windows.
const realTime = "windows_real_time_events"

// fails fails the test unless err is a kind of error.
func (r *crossRig) fails(what string, err, kind error) {
	r.Helper()
	if !errors.Is(err, kind) {
		r.Errorf("%s: got error %v, want %v", what, err, kind)
	}
}

func (r *crossRig) raise(host, source, rule string) int64 {
	r.Helper()
	id := r.sim.Raise(ersim.AlertSpec{Host: host, Source: source, Rule: rule, Separate: true})
	if id == 0 {
		r.Fatalf("no alert of %s", host)
	}
	return id
}

// report lets host 1 report n events, with the command lines tool 0 and so on.
func (r *crossRig) report(n int) {
	for i := range n {
		r.sim.Raise(ersim.AlertSpec{Host: "1", Separate: true, Detached: true, Columns: map[string]string{
			"action": "PROC_CREATE", "path": `C:\tool.exe`, "process_name": "tool " + strconv.Itoa(i), "cmdline": "tool " + strconv.Itoa(i),
		}})
	}
}

// export reads what an export wrote.
func (r *crossRig) export(do func(w io.Writer) (int64, error)) (table []map[string]string) {
	r.Helper()
	var out bytes.Buffer
	n, err := do(&out)
	r.ok(err)
	r.is("bytes", n, int64(out.Len()))
	for row, err := range connector.CSVRows(&out) {
		r.ok(err)
		table = append(table, row)
	}
	return table
}

func column(table []map[string]string, name string) (texts []string) {
	for _, row := range table {
		texts = append(texts, row[name])
	}
	return texts
}

func names(hosts []connector.Host) (list []string) {
	for _, h := range hosts {
		list = append(list, h.Name)
	}
	return list
}

func cmdlines(events []connector.ActivityEvent) (list []string) {
	for _, e := range events {
		list = append(list, e.Columns["cmdline"])
	}
	return list
}

func (r *crossRig) states(refs ...string) map[string]int {
	r.Helper()
	states, err := r.client.Hosts.States(r.Context(), refs...)
	r.ok(err)
	return states
}

func (r *crossRig) statusLogs(ref string, q connector.StatusLogQuery) (logs []connector.StatusLog) {
	r.Helper()
	for l, err := range r.client.Hosts.StatusLogs(r.Context(), ref, q) {
		r.ok(err)
		logs = append(logs, l)
	}
	return logs
}

// assignAll gives a tag to a pack and to a query.
func (r *crossRig) assignAll(tag string) {
	r.Helper()
	r.ok(r.client.Tags.Assign(r.Context(), tag, connector.TagTargets{Packs: []string{"it-compliance"}, Queries: []string{"osquery_info"}}))
}

// TestHostOutOfSight follows the alerts of a host through its states, in both releases.
func TestHostOutOfSight(t *testing.T) {
	for _, tt := range []struct {
		profile          string
		removed, deleted int  // alerts in the list
		detail           bool // of a deleted host's alert
		removedListed    int
	}{
		{profile: "2.1.2", removed: 1, deleted: 1, removedListed: 5},
		{profile: "4.0", removed: 2, deleted: 1, detail: true, removedListed: 6},
	} {
		t.Run(tt.profile, func(t *testing.T) {
			r := newCrossRig(t, cross{profile: tt.profile})
			gone := r.raise("WEB-01", "rule", "Encoded PowerShell")
			r.raise("WIN-FIN-01", "rule", "Encoded PowerShell")
			alerts := func() int {
				t.Helper()
				page, err := r.client.Alerts.Page(r.Context(), connector.AlertQuery{})
				r.ok(err)
				r.is("count", page.Count, len(page.Results))
				return len(page.Results)
			}
			r.is("alerts", alerts(), 2)

			r.ok(r.client.Hosts.Deactivate(r.Context(), "3"))
			r.is("alerts with the host removed", alerts(), tt.removed)
			_, err := r.client.Alerts.Get(r.Context(), gone)
			r.ok(err)
			page, err := r.client.Hosts.Page(r.Context(), connector.HostQuery{})
			r.ok(err)
			r.is("hosts", page.Total, tt.removedListed)
			r.is("alert of a removed host", r.sim.Raise(ersim.AlertSpec{Host: "3"}), int64(0))

			r.ok(r.client.Hosts.Reactivate(r.Context(), "3"))
			r.is("alerts with the host back", alerts(), 2)

			r.ok(r.client.Hosts.Delete(r.Context(), "3", connector.DeleteForGood))
			r.is("alerts with the host deleted", alerts(), tt.deleted)
			if _, err = r.client.Alerts.Get(r.Context(), gone); (err == nil) != tt.detail {
				t.Errorf("alert of the deleted host: %v", err)
			}
		})
	}
}

// TestActivityOfRelease2 walks by offset through rows that have no id.
func TestActivityOfRelease2(t *testing.T) {
	r := newCrossRig(t, cross{profile: "2.1.2"})
	r.report(7)
	q := connector.ActivityQuery{Query: "win_process_events", Limit: 3}
	page, err := r.client.Hosts.ActivityPage(r.Context(), "1", q)
	r.ok(err)
	r.is("ids", page.Results[0].ID, int64(0))
	var all []connector.ActivityEvent
	for e, err := range r.client.Hosts.Activity(r.Context(), "1", q) {
		r.ok(err)
		if all = append(all, e); len(all) == 1 {
			r.report(1) // "tool 0" once more, in front: it moves the rest
		}
	}
	r.is("walk", cmdlines(all), []string{"tool 6", "tool 5", "tool 4", "tool 3", "tool 2", "tool 1", "tool 0"})
	q.Column, q.Values = "cmdline", []string{"tool 1"}
	_, err = r.client.Hosts.ActivityPage(r.Context(), "1", q)
	r.fails("column", err, connector.ErrUnavailable)
	_, err = r.client.Hosts.ExportStatusLogs(r.Context(), "1")
	r.fails("status log export", err, connector.ErrUnavailable)
	r.fails("bulk", r.client.Hosts.DeactivateMany(r.Context(), []string{"1"}), connector.ErrUnavailable)
	_, err = r.client.Hosts.Export(r.Context(), connector.HostQuery{}, io.Discard)
	r.fails("filtered export", err, connector.ErrUnavailable)
	r.fails("assign", r.client.Tags.Assign(r.Context(), "hr", connector.TagTargets{Systems: []string{"macOS"}}), connector.ErrUnavailable)
	r.ok(r.client.Tags.Delete(r.Context(), "never heard of", connector.DeleteForGood)) // as observed
	table := r.export(func(w io.Writer) (int64, error) { return r.client.Hosts.ExportAll(r.Context(), w) })
	r.is("names", column(table, "Host_Identifier")[5], "WIN-FIN-01")
}

// TestHostCallsOfAnalysts are refused by role in release 4.0.
func TestHostCallsOfAnalysts(t *testing.T) {
	r := newCrossRig(t, cross{user: "analyst"})
	for what, err := range map[string]error{
		"add tag": r.client.Hosts.AddTag(r.Context(), "1", "x"), "remove tag": r.client.Hosts.RemoveTag(r.Context(), "1", "finance"),
		"deactivate": r.client.Hosts.Deactivate(r.Context(), "1"), "reactivate": r.client.Hosts.Reactivate(r.Context(), "1"),
		"delete":          r.client.Hosts.Delete(r.Context(), "1", connector.DeleteForGood),
		"deactivate many": r.client.Hosts.DeactivateMany(r.Context(), []string{"1"}),
		"reactivate many": r.client.Hosts.ReactivateMany(r.Context(), []string{"1"}),
		"delete many":     r.client.Hosts.DeleteMany(r.Context(), []string{"1"}, connector.DeleteForGood),
		"add":             r.client.Tags.Add(r.Context(), "x"), "delete a tag": r.client.Tags.Delete(r.Context(), "finance", connector.DeleteForGood),
		"assign": r.client.Tags.Assign(r.Context(), "finance", connector.TagTargets{Systems: []string{"macOS"}}),
	} {
		r.fails(what, err, connector.ErrForbidden)
	}
	r.is("first host", []any{r.sim.Hosts()[0].State, r.sim.Hosts()[0].Tags}, []any{0, []string{"workstation", "finance"}})
}
