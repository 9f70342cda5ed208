package connector_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
)

const badMD5 = "44d88612fea8a8f36de82e1278abb02f"

// reportHashes makes two hosts report events: three with a bad hash on the first, one on
// the second, and one without on each. It returns their identifiers.
func (r *crossRig) reportHashes() (first, second string) {
	hosts := r.sim.Hosts()
	first, second = hosts[0].Identifier, hosts[1].Identifier
	for i, one := range []struct{ host, md5 string }{
		{first, badMD5}, {second, badMD5}, {first, "0"}, {first, badMD5}, {second, "0"}, {first, badMD5},
	} {
		id := r.sim.Raise(ersim.AlertSpec{Host: one.host, Query: "windows_real_time_events", Detached: true, Separate: true, Columns: map[string]string{
			"md5": one.md5, "eid": fmt.Sprint("E", i), "path": fmt.Sprintf(`C:\Users\bob\a_%d.exe`, i), "process_name": "a.exe",
		}})
		if id == 0 {
			r.Fatal("no event")
		}
	}
	return first, second
}

// hits writes counts in one line.
func hits(hosts []connector.HostHits) string {
	var b strings.Builder
	for _, h := range hosts {
		for _, q := range h.Queries {
			fmt.Fprintf(&b, "%s %s %d;", h.Host, q.Query, q.Count)
		}
	}
	return b.String()
}

// eids collects the column eid of rows.
func eids(r *crossRig, rows func(yield func(map[string]string, error) bool)) string {
	var all []string
	for row, err := range rows {
		r.ok(err)
		all = append(all, row["eid"])
	}
	return strings.Join(all, " ")
}

func eventEIDs(r *crossRig, rows func(yield func(connector.ResultRow, error) bool)) string {
	return eids(r, func(yield func(map[string]string, error) bool) {
		for row, err := range rows {
			if !yield(row.Columns, err) {
				return
			}
		}
	})
}

var crossSearch = map[string]cross{
	"search": {test: func(r *crossRig) {
		first, second := r.reportHashes()
		bad := connector.Where("md5", connector.OpEqual, badMD5)
		counts, err := r.client.Search.Counts(r.Context(), bad)
		r.ok(err)
		r.is("counts", hits(counts), first+" windows_real_time_events 3;"+second+" windows_real_time_events 1;")
		none, err := r.client.Search.Counts(r.Context(), connector.Where("md5", connector.OpEqual, "nope"))
		r.ok(err)
		r.is("nothing found", len(none), 0)

		q := connector.SearchQuery{Condition: bad, Host: "1", Query: "windows_real_time_events", Limit: 2}
		page, err := r.client.Search.Page(r.Context(), q)
		r.ok(err)
		r.is("rows of the first page", []int{page.Count, len(page.Results)}, []int{3, 2})
		r.is("all rows", eids(r, r.client.Search.Rows(r.Context(), q)), "E0 E3 E5")
		// A backslash and an underscore are what they are.
		q.Condition = connector.And(bad, connector.Where("path", connector.OpContains, `\bob\a_3`))
		r.is("path", eids(r, r.client.Search.Rows(r.Context(), q)), "E3")
		q.Host = "nobody"
		if _, err := r.client.Search.Page(r.Context(), q); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown host: %v", err)
		}
	}},
	"activity-search": {test: func(r *crossRig) {
		first, _ := r.reportHashes()
		q := connector.ActivitySearch{Condition: connector.Where("md5", connector.OpEqual, badMD5), Limit: 2}
		r.is("all hosts", eventEIDs(r, r.client.Search.Activity(r.Context(), q)), "E5 E3 E1 E0")
		q.Host = first
		r.is("one host", eventEIDs(r, r.client.Search.Activity(r.Context(), q)), "E5 E3 E0")
		for row, err := range r.client.Search.Activity(r.Context(), q) {
			r.ok(err)
			r.is("host", row.Host, first)
			r.is("query", row.Query, "windows_real_time_events")
			if age := time.Since(row.Time).Abs(); age > time.Hour || row.ID == 0 || row.Hostname == "" || row.Action != "added" {
				r.Errorf("row %+v", row)
			}
		}
		// The server would search all hosts for this one.
		q.Host = strings.ToLower(first) + "x"
		for _, err := range r.client.Search.Activity(r.Context(), q) {
			if !errors.Is(err, connector.ErrNotFound) {
				r.Errorf("unknown host: %v", err)
			}
		}
	}},
	"schedule-query-export": {test: func(r *crossRig) {
		first, _ := r.reportHashes()
		var file bytes.Buffer
		n, err := r.client.Search.ExportQuery(r.Context(), first, "windows_real_time_events", &file)
		r.ok(err)
		r.is("length", n, int64(file.Len()))
		r.is("rows", eids(r, connector.CSVRows(&file)), "E0 E2 E3 E5")
		if _, err := r.client.Search.ExportQuery(r.Context(), first, "nothing", &file); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("export of nothing: %v", err)
		}
	}},

	"hunt-upload": {test: func(r *crossRig) {
		first, second := r.reportHashes()
		file := connector.IndicatorFile(badMD5, "", "zz")
		counts, err := r.client.Hunt.Upload(r.Context(), "md5", file)
		r.ok(err)
		r.is("counts", hits(counts), first+" windows_real_time_events 3;"+second+" windows_real_time_events 1;")
		q := connector.HuntQuery{Type: "md5", File: file, Host: first, Query: "windows_real_time_events", Limit: 2}
		r.is("rows", eids(r, r.client.Hunt.UploadRows(r.Context(), q)), "E0 E3 E5")
	}},
	"indicators-upload": {test: func(r *crossRig) {
		first, _ := r.reportHashes()
		q := connector.EventHunt{Type: "md5", File: connector.IndicatorFile(badMD5), Limit: 3, Window: connector.EventWindow{Span: connector.SpanDay}}
		r.is("all hosts", eventEIDs(r, r.client.Hunt.Events(r.Context(), q)), "E5 E3 E1 E0")
		q.Host = first
		r.is("one host", eventEIDs(r, r.client.Hunt.Events(r.Context(), q)), "E5 E3 E0")
		q.Window = connector.EventWindow{Until: time.Now().AddDate(0, 0, -3), Span: connector.SpanDay}
		r.is("days ago", eventEIDs(r, r.client.Hunt.Events(r.Context(), q)), "")
	}},
	"hunt-upload-export": {test: func(r *crossRig) {
		first, _ := r.reportHashes()
		var file bytes.Buffer
		q := connector.HuntQuery{Type: "md5", File: connector.IndicatorFile(badMD5), Host: first, Query: "windows_real_time_events"}
		_, err := r.client.Hunt.Export(r.Context(), q, &file)
		r.ok(err)
		r.is("rows", eids(r, connector.CSVRows(&file)), "E0 E3 E5")
	}},
	"indicators-upload-export": {test: func(r *crossRig) {
		r.reportHashes()
		var file bytes.Buffer
		q := connector.EventHunt{Type: "md5", File: connector.IndicatorFile(badMD5)}
		_, err := r.client.Hunt.ExportEvents(r.Context(), q, &file)
		r.ok(err)
		rows := strings.Fields(eids(r, connector.CSVRows(&file)))
		slices.Sort(rows)
		r.is("rows", rows, []string{"E0", "E1", "E3", "E5"})
	}},
	"indicators-hunt": {profile: "2.1.2", test: func(r *crossRig) {
		first, second := r.reportHashes()
		counts, err := r.client.Hunt.Indicators(r.Context(), "md5", " "+badMD5, "zz")
		r.ok(err)
		r.is("counts", hits(counts), first+" windows_real_time_events 3;"+second+" windows_real_time_events 1;")
		q := connector.IndicatorHunt{Type: "md5", Indicators: []string{badMD5}, Host: second, Query: "windows_real_time_events"}
		r.is("rows", eids(r, r.client.Hunt.IndicatorRows(r.Context(), q)), "E1")
	}},

	"schema-list": {test: func(r *crossRig) {
		tables, err := r.client.Schema.Tables(r.Context())
		r.ok(err)
		statements, err := r.client.Schema.SQL(r.Context())
		r.ok(err)
		r.is("tables", len(tables), len(statements))
		at := slices.IndexFunc(tables, func(t connector.SchemaTable) bool { return t.Name == "windows_firewall_rules" })
		if at < 0 {
			r.Fatal("no table of firewall rules")
		}
		r.is("platforms", tables[at].Platforms, []string{"windows"})
		for i := range tables {
			if len(tables[i].Columns) != len(statements[i].Columns) || tables[i].Name != statements[i].Name || len(tables[i].Columns) == 0 {
				r.Errorf("table %+v is not %+v", tables[i], statements[i])
			}
		}
	}},
	"schema-get": {test: func(r *crossRig) {
		t, err := r.client.Schema.Table(r.Context(), "processes")
		r.ok(err)
		r.is("first column", t.Columns[0], connector.SchemaColumn{Name: "pid", Type: "BIGINT"})
		if _, err := r.client.Schema.Table(r.Context(), "nothing"); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown table: %v", err)
		}
	}},

	"yara-list": {profile: "2.1.2", test: func(r *crossRig) {
		files, err := r.client.YARA.List(r.Context())
		r.ok(err)
		r.is("no files", len(files.All), 0)
		r.ok(r.client.YARA.Add(r.Context(), connector.Upload{Name: "Eicar.YAR", Content: []byte("rule x {}")}, "linux"))
		files, err = r.client.YARA.List(r.Context())
		r.ok(err)
		r.is("files", files, connector.YARAFiles{All: []string{"eicar.yar"}})
	}},
	"yara-add": {test: func(r *crossRig) {
		file := connector.Upload{Name: "Eicar.YAR", Content: []byte("rule x {}")}
		r.ok(r.client.YARA.Add(r.Context(), file, "windows", "linux"))
		files, err := r.client.YARA.List(r.Context())
		r.ok(err)
		r.is("files", files, connector.YARAFiles{All: []string{"eicar.yar"}, ByPlatform: map[string][]string{
			"windows": {"eicar.yar"}, "linux": {"eicar.yar"}, "darwin": nil,
		}})
		if err := r.client.YARA.Add(r.Context(), file, "windows"); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("the same again: %v", err)
		}
	}},
	"yara-view": {test: func(r *crossRig) {
		r.ok(r.client.YARA.Add(r.Context(), connector.Upload{Name: "a.yara", Content: []byte("rule x {}")}, "windows"))
		text, err := r.client.YARA.View(r.Context(), "A.yara")
		r.ok(err)
		r.is("text", text, "rule x {}")
		if _, err := r.client.YARA.View(r.Context(), "b.yara"); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown file: %v", err)
		}
	}},
	"yara-update": {test: func(r *crossRig) {
		r.ok(r.client.YARA.Add(r.Context(), connector.Upload{Name: "a.yar", Content: []byte("rule x {}")}, "windows"))
		r.ok(r.client.YARA.Update(r.Context(), "A.YAR", "darwin"))
		files, err := r.client.YARA.List(r.Context())
		r.ok(err)
		r.is("files", files.ByPlatform, map[string][]string{"windows": {"a.yar"}, "linux": nil, "darwin": {"a.yar"}})
	}},
	"yara-delete": {test: func(r *crossRig) {
		r.ok(r.client.YARA.Add(r.Context(), connector.Upload{Name: "a.yar", Content: []byte("rule x {}")}, "windows", "linux"))
		r.ok(r.client.YARA.Delete(r.Context(), "A.yar", connector.DeleteForGood, "windows"))
		_, err := r.client.YARA.View(r.Context(), "a.yar")
		r.ok(err) // linux still has it
		r.ok(r.client.YARA.Delete(r.Context(), "a.yar", connector.DeleteForGood, "linux"))
		if _, err := r.client.YARA.View(r.Context(), "a.yar"); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("deleted file: %v", err)
		}
	}},

	"iocs-list": {test: func(r *crossRig) {
		set, err := r.client.IOCs.Get(r.Context())
		r.ok(err)
		r.is("the examples are not there", len(set), 0)
	}},
	"iocs-replace": {test: func(r *crossRig) {
		ips := connector.IOC{Type: "remote_address", Severity: "HIGH", Values: []string{"203.0.113.66"}}
		hashes := connector.IOC{Type: "md5", Severity: "warning", Values: []string{badMD5}}
		r.ok(r.client.IOCs.Replace(r.Context(), map[string]connector.IOC{"ips": ips}, connector.ReplaceEverything))
		more := connector.IOC{Type: "remote_address", Severity: "CRITICAL", Values: []string{"203.0.113.67", "203.0.113.66"}}
		r.ok(r.client.IOCs.Merge(r.Context(), map[string]connector.IOC{"ips": more, "hashes": hashes}))
		set, err := r.client.IOCs.Get(r.Context())
		r.ok(err)
		r.is("set", set, map[string]connector.IOC{
			"ips":    {Type: "remote_address", Severity: "CRITICAL", Values: []string{"203.0.113.66", "203.0.113.67"}, Source: "self"},
			"hashes": {Type: "md5", Severity: "MEDIUM", Values: []string{badMD5}, Source: "self"},
		})
		writes := r.sim.Calls()["iocs-replace"]
		r.ok(r.client.IOCs.Merge(r.Context(), map[string]connector.IOC{"hashes": hashes}))
		r.is("writes for nothing new", r.sim.Calls()["iocs-replace"]-writes, 0)
		r.ok(r.client.IOCs.Remove(r.Context(), connector.DeleteForGood, "ips"))
		r.ok(r.client.IOCs.Remove(r.Context(), connector.DeleteForGood, "hashes"))
		set, err = r.client.IOCs.Get(r.Context())
		r.ok(err)
		r.is("what is left", len(set), 0)
	}},

	"rules-names": {test: func(r *crossRig) {
		names, err := r.client.Rules.Names(r.Context())
		r.ok(err)
		if !slices.IsSortedFunc(names, func(a, b connector.RuleName) int { return strings.Compare(a.Name, b.Name) }) || len(names) < 10 {
			r.Errorf("names: %v", names)
		}
		r.is("status", names[0].Status, "ACTIVE")
	}},
	"rules-list": {test: func(r *crossRig) {
		r.reportHashes()
		page, err := r.client.Rules.Page(r.Context(), connector.RuleQuery{Limit: 1})
		r.ok(err)
		r.is("first rule", []any{page.Results[0].Name, page.Results[0].AlertCount}, []any{"Simulated load", 6})
		names, err := r.client.Rules.Names(r.Context())
		r.ok(err)
		var listed []string
		for rule, err := range r.client.Rules.List(r.Context(), connector.RuleQuery{Limit: 5}) {
			r.ok(err)
			listed = append(listed, rule.Name)
		}
		r.is("rules", len(listed), len(names))
		r.is("order", slices.IsSorted(listed), true)
		page, err = r.client.Rules.Page(r.Context(), connector.RuleQuery{Active: new(false)})
		r.ok(err)
		r.is("inactive rules", len(page.Results), 0)
	}},
	"rules-get": {test: func(r *crossRig) {
		rule, err := r.client.Rules.Get(r.Context(), 1)
		r.ok(err)
		condition, err := rule.Condition()
		r.ok(err)
		r.is("condition", condition, connector.And(connector.Where("cmdline", connector.OpContains, "delete shadows")))
	}},
	"rules-add": {test: func(r *crossRig) {
		spec := newRule
		id, err := r.client.Rules.Add(r.Context(), spec)
		r.ok(err)
		rule, err := r.client.Rules.Get(r.Context(), id)
		r.ok(err)
		r.is("rule", []any{rule.Name, rule.Severity, rule.Type, rule.Status, rule.Platform, rule.Techniques, rule.Tactics, rule.Alerters},
			[]any{"new", "HIGH", "MITRE", "ACTIVE", "all", []string{"T1003", "T1059"}, []string{"credential-access"}, []string{"rsyslog", "debug"}})
		condition, err := rule.Condition()
		r.ok(err)
		r.is("condition", condition, spec.Condition)
		if _, err := r.client.Rules.Add(r.Context(), spec); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("the same name: %v", err)
		}
	}},
	"rules-update": {profile: "2.1.2", test: func(r *crossRig) {
		before, err := r.client.Rules.Get(r.Context(), 4)
		r.ok(err)
		after, err := r.client.Rules.Modify(r.Context(), 4, func(s *connector.RuleSpec) error {
			s.Description = "changed"
			return nil
		})
		r.ok(err)
		before.Description, before.UpdatedAt, after.UpdatedAt = "changed", time.Time{}, time.Time{}
		r.is("rule", after, before) // the type is still there
		spec := newRule
		spec.Severity = "CRITICAL"
		after, err = r.client.Rules.Replace(r.Context(), 4, spec, connector.ReplaceEverything)
		r.ok(err)
		r.is("name", after.Name, "new")
		if _, err := r.client.Rules.Replace(r.Context(), 999, spec, connector.ReplaceEverything); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown rule: %v", err)
		}
	}},
	"rules-enable": {user: "analyst", test: func(r *crossRig) {
		r.ok(r.client.Rules.Disable(r.Context(), 1, 2))
		r.ok(r.client.Rules.Enable(r.Context(), 2))
		inactive, err := r.client.Rules.Page(r.Context(), connector.RuleQuery{Active: new(false)})
		r.ok(err)
		r.is("inactive rules", []any{len(inactive.Results), inactive.Results[0].ID}, []any{1, int64(1)})
	}},
	"rules-disable": {test: func(r *crossRig) {
		r.ok(r.client.Rules.Disable(r.Context(), 3))
		rule, err := r.client.Rules.Get(r.Context(), 3)
		r.ok(err)
		r.is("status", rule.Status, "INACTIVE")
		if err := r.client.Rules.Disable(r.Context(), 4, 999); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown rule: %v", err)
		}
	}},
	"rules-delete": {test: func(r *crossRig) {
		r.ok(r.client.Rules.Delete(r.Context(), connector.DeleteForGood, 5))
		if _, err := r.client.Rules.Get(r.Context(), 5); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("deleted rule: %v", err)
		}
		// The server would bring it back.
		if err := r.client.Rules.Enable(r.Context(), 5); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("enable a deleted rule: %v", err)
		}
	}},
	"rules-tactics": {test: func(r *crossRig) {
		tactics, err := r.client.Rules.Tactics(r.Context(), "T1003", "T1059")
		r.ok(err)
		r.is("tactics", tactics.Tactics, []string{"credential-access", "execution"})
	}},
}

var newRule = connector.RuleSpec{
	Name: "new", Description: "d", Severity: "HIGH", Type: "MITRE", Techniques: []string{"T1003", "T1059"}, Tactics: []string{"credential-access"},
	Alerters: []string{"rsyslog"},
	Condition: connector.And(
		connector.WhereField(connector.FieldQuery, connector.OpEqual, "win_process_events"),
		connector.Or(connector.Where("cmdline", connector.OpContains, "sekurlsa"), connector.Where("pid", connector.OpGreater, "4"),
			connector.Where("path", connector.OpIsEmpty, ""))),
}
