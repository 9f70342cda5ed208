package connector_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
)

// alarms makes alerts of host 1 and returns their ids: two of a rule, one of a feed.
func (r *crossRig) alarms() (ruled, second, intel int64) {
	ruled = r.sim.Raise(ersim.AlertSpec{Host: "1", Rule: "Credential dumping", Severity: "HIGH"})
	second = r.sim.Raise(ersim.AlertSpec{Host: "1", Rule: "Credential dumping", Severity: "HIGH", Separate: true})
	intel = r.sim.Raise(ersim.AlertSpec{Host: "3", Source: "virustotal", Intel: map[string]any{"positives": 3}})
	return ruled, second, intel
}

// aggregate makes an alert that has absorbed two more events.
func (r *crossRig) aggregate() (id int64, query string) {
	_, err := r.client.Raw(r.Context(), "PUT", "/management/settings", []byte(`{"alert_aggregation_duration": "60", "purge_data_duration": "7"}`))
	r.ok(err)
	for pid := range 3 {
		id = r.sim.Raise(ersim.AlertSpec{Host: "1", Rule: "Credential dumping", Query: "win_process_events",
			Columns: map[string]string{"action": "PROC_CREATE", "pid": strconv.Itoa(100 + pid), "path": `C:\evil.exe`}})
	}
	return id, "win_process_events"
}

// windows is the identifier of a Windows host.
func (r *crossRig) windows() string { return hostOf(r.T, r.sim, "windows").Identifier }

// table reads CSV with rows of any length.
func (r *crossRig) table(text []byte) [][]string {
	reader := csv.NewReader(bytes.NewReader(text))
	reader.FieldsPerRecord = -1
	rows, err := reader.ReadAll()
	r.ok(err)
	return rows
}

// output waits for the end of a command and returns what the host printed.
func (r *crossRig) output(cmd connector.Command, err error) string {
	r.Helper()
	r.ok(err)
	end := finish(r.T, r.client, cmd)
	r.is("status", end.Status, connector.CommandSuccess)
	return end.Output
}

// says fails the test when a text lacks a part.
func (r *crossRig) says(what, text, part string) {
	r.Helper()
	if !strings.Contains(text, part) {
		r.Errorf("%s: %q does not say %q", what, text, part)
	}
}

// script sends a script and waits for its end.
func (r *crossRig) script() int64 {
	r.Helper()
	cmd, err := r.client.Responses.RunScript(r.Context(), connector.Script{
		Hosts: []string{r.windows()}, Kind: connector.ScriptPowerShell, Content: "echo hello", Name: "greet",
	})
	r.ok(err)
	finish(r.T, r.client, cmd)
	return cmd.OpenC2ID
}

// carve waits for a carve of a file of host 1.
func (r *crossRig) carve() connector.Carve {
	r.Helper()
	host := r.sim.Hosts()[0]
	ticket, err := r.client.Queries.Live(r.Context(), connector.LiveQuery{
		SQL: "select * from carves where carve = 1 and path = '" + host.Files[0] + "'", Hosts: []string{host.Identifier},
	})
	r.ok(err)
	for r.Context().Err() == nil {
		carve, err := r.client.Carves.ByQuery(r.Context(), ticket.QueryID, host.Identifier)
		if err != nil && !errors.Is(err, connector.ErrNotFound) {
			r.Fatal(err)
		}
		if carve.Done() {
			return carve
		}
	}
	r.Fatal("the carve does not end")
	return connector.Carve{}
}

var crossAlerts = map[string]cross{
	"alerts-count-by-source": {test: func(r *crossRig) {
		_, second, _ := r.alarms()
		r.ok(r.client.Alerts.Resolve(r.Context(), []int64{second}, true, ""))
		count := func(q connector.AlertCountQuery) (text string) {
			counts, err := r.client.Alerts.CountBySource(r.Context(), q)
			r.ok(err)
			for _, c := range counts {
				text += c.Source + " " + strconv.Itoa(c.Count) + " "
			}
			return text
		}
		r.is("all", count(connector.AlertCountQuery{}), "virustotal 1 rule 2 ibmxforce 0 alienvault 0 ioc 0 ")
		r.is("open", count(connector.AlertCountQuery{Resolved: new(false)}), "virustotal 1 rule 1 ibmxforce 0 alienvault 0 ioc 0 ")
		r.is("host", count(connector.AlertCountQuery{Host: r.sim.Hosts()[0].Identifier}), "virustotal 0 rule 2 ibmxforce 0 alienvault 0 ioc 0 ")
		r.is("today", count(connector.AlertCountQuery{Window: &connector.EventWindow{Span: connector.SpanDay}}),
			"virustotal 1 rule 2 ibmxforce 0 alienvault 0 ioc 0 ")
		r.is("long ago", count(connector.AlertCountQuery{Window: &connector.EventWindow{Until: time.Now().AddDate(0, 0, -9)}}),
			"virustotal 0 rule 0 ibmxforce 0 alienvault 0 ioc 0 ")
		// The server itself would count all hosts.
		if _, err := r.client.Alerts.CountBySource(r.Context(), connector.AlertCountQuery{Host: "nosuch"}); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown host: %v", err)
		}
		if _, err := r.client.Alerts.CountBySource(r.Context(), connector.AlertCountQuery{Host: "1"}); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("number of a host for its identifier: %v", err)
		}
	}},
	"alerts-graph": {test: func(r *crossRig) {
		ruled, second, intel := r.alarms()
		points, err := r.client.Alerts.Graph(r.Context(), connector.AlertFilter{})
		r.ok(err)
		var ids []int64
		for _, p := range points {
			ids = append(ids, p.ID)
		}
		r.is("newest first", ids, []int64{intel, second, ruled})
		r.is("class", points[0].Class, "green")
		state := r.sim.Alerts()[2]
		r.is("time", points[0].At, state.CreatedAt)
		points, err = r.client.Alerts.Graph(r.Context(), connector.AlertFilter{
			Source: "rule,ioc", Host: r.sim.Hosts()[0].Identifier, Search: "credential", Since: time.Now().Add(-time.Hour),
		})
		r.ok(err)
		r.is("filtered", len(points), 2)
	}},
	"alerts-list": {test: func(r *crossRig) {
		ruled, second, intel := r.alarms()
		ids := func(q connector.AlertQuery) (ids []int64) {
			for a, err := range r.client.Alerts.List(r.Context(), q) {
				r.ok(err)
				ids = append(ids, a.ID)
			}
			return ids
		}
		r.is("all", ids(connector.AlertQuery{Limit: 2}), []int64{intel, second, ruled})
		r.is("high", ids(connector.AlertQuery{Severity: "High,critical"}), []int64{second, ruled})
		r.is("verdict", ids(connector.AlertQuery{Verdict: connector.VerdictTruePositive}), []int64(nil))
		r.is("by id", ids(connector.AlertQuery{IDs: []int64{ruled}, WithoutCounts: true}), []int64{ruled})
		r.is("oldest first", ids(connector.AlertQuery{Column: "created_at"}), []int64{ruled, second, intel})
		page, err := r.client.Alerts.Page(r.Context(), connector.AlertQuery{Source: connector.SourceVirusTotal})
		r.ok(err)
		r.is("count and total", []int{page.Count, page.Total}, []int{1, 1})
		r.says("intel", string(page.Results[0].Intel), "positives")
	}},
	"alerts-update": {test: func(r *crossRig) {
		ruled, second, _ := r.alarms()
		r.ok(r.client.Alerts.Resolve(r.Context(), []int64{ruled, second}, false, "a test"))
		a, err := r.client.Alerts.Get(r.Context(), ruled)
		r.ok(err)
		r.is("resolved", []string{a.Status, a.Verdict, a.Comment, a.UpdatedBy}, []string{"RESOLVED", "FALSE POSITIVE", "a test", "admin"})
		r.ok(r.client.Alerts.Reopen(r.Context(), []int64{ruled}))
		a, err = r.client.Alerts.Get(r.Context(), ruled)
		r.ok(err)
		r.is("reopened", []string{a.Status, a.Verdict, a.Comment}, []string{"OPEN", "", ""})
	}},
	"alerts-get": {test: func(r *crossRig) {
		ruled, _, _ := r.alarms()
		a, err := r.client.Alerts.Get(r.Context(), ruled)
		r.ok(err)
		r.is("alert", []string{a.RuleName, a.Severity, a.Platform, a.Source}, []string{"Credential dumping", "HIGH", "windows", "rule"})
		if _, err := r.client.Alerts.Get(r.Context(), 999); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown: %v", err)
		}
	}},
	"alerts-events": {test: func(r *crossRig) {
		ruled, _, _ := r.alarms()
		related, err := r.client.Alerts.RelatedEvents(r.Context(), ruled)
		r.ok(err)
		rows := 0
		for _, q := range related.Queries {
			rows += len(q.Rows)
		}
		r.is("events within half a minute", rows, 2)
		r.is("states", related.States, []string{"patches", "os_version"})
	}},
	"alerts-state": {test: func(r *crossRig) {
		ruled, _, _ := r.alarms()
		states, err := r.client.Alerts.State(r.Context(), ruled)
		r.ok(err)
		r.is("queries", []string{states[0].QueryName, states[1].QueryName}, []string{"os_version", "patches"})
		if states[0].Count != 1 || states[1].Count < 20 {
			r.Errorf("counts %+v", states)
		}
		if _, err := r.client.Alerts.State(r.Context(), 999); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown: %v", err)
		}
	}},
	"alerts-alerted-events": {test: func(r *crossRig) {
		id, query := r.aggregate()
		page, err := r.client.Alerts.AggregatedEvents(r.Context(), id, connector.AggregatedQuery{})
		r.ok(err)
		r.is("counts", []any{len(page.Results), page.Results[0].QueryName, page.Results[0].Count}, []any{1, query, 2})
		page, err = r.client.Alerts.AggregatedEvents(r.Context(), id, connector.AggregatedQuery{QueryName: query, Column: "pid", Value: "102,7"})
		r.ok(err)
		r.is("rows", []any{len(page.Results), page.Results[0].Columns["pid"], page.Count, page.Total}, []any{1, "102", 1, 2})
	}},
	"alerts-alerted-events-export": {test: func(r *crossRig) {
		id, query := r.aggregate()
		var out bytes.Buffer
		n, err := r.client.Alerts.ExportAggregatedEvents(r.Context(), id, connector.AggregatedQuery{QueryName: query}, &out)
		r.ok(err)
		r.is("bytes", n, int64(out.Len()))
		r.is("table", r.table(out.Bytes()), [][]string{{"pid", "path", "action"}, {"101", `C:\evil.exe`, "PROC_CREATE"}, {"102", `C:\evil.exe`, "PROC_CREATE"}})
		out.Reset()
		_, err = r.client.Alerts.ExportAggregatedEvents(r.Context(), id, connector.AggregatedQuery{QueryName: "nosuch"}, &out)
		if !errors.Is(err, connector.ErrRefused) || out.Len() > 0 {
			r.Errorf("no events: %v, %q", err, out.String())
		}
	}},
	"alerts-export": {test: func(r *crossRig) {
		_, second, _ := r.alarms()
		r.ok(r.client.Alerts.Resolve(r.Context(), []int64{second}, true, "it's real"))
		var out bytes.Buffer
		n, err := r.client.Alerts.Export(r.Context(), connector.AlertFilter{Source: connector.SourceRule}, &out)
		r.ok(err)
		r.is("bytes", n, int64(out.Len()))
		table := r.table(out.Bytes())
		r.is("header", strings.Join(table[0], " "),
			"query_name alerted_entry node severity type created_at updated_at result_log_uid source status verdict comment rule")
		r.is("rows", len(table), 3)
		row := map[string]string{}
		for i, name := range table[0] {
			row[name] = table[1][i]
		}
		r.is("verdict", []string{row["status"], row["verdict"], row["comment"]}, []string{"RESOLVED", "1", "it's real"})
		r.says("objects are Python's", row["node"], "{'id': 1, 'display_name': 'WIN-FIN-01', 'host_identifier': '")
		r.says("rule", row["rule"], "'name': 'Credential dumping'}")
		out.Reset()
		if _, err := r.client.Alerts.Export(r.Context(), connector.AlertFilter{Source: "ioc"}, &out); !errors.Is(err, connector.ErrRefused) || out.Len() > 0 {
			r.Errorf("no alerts: %v, %q", err, out.String())
		}
	}},
	"alerts-process": {test: func(r *crossRig) {
		ruled, _, _ := r.alarms()
		a, err := r.client.Alerts.Get(r.Context(), ruled)
		r.ok(err)
		tree, err := r.client.Alerts.ProcessTree(r.Context(), connector.ProcessQuery{
			GUID: a.Columns["parent_process_guid"], NodeID: a.NodeID, AlertID: strconv.FormatInt(ruled, 10),
		})
		r.ok(err)
		if len(tree.Groups) != 1 || tree.Groups[0].Action != "PROC_CREATE" || len(tree.Groups[0].Children) == 0 || tree.Path == "" {
			r.Errorf("tree %+v", tree)
		}
	}},
	"alerts-process-child": {test: func(r *crossRig) {
		ruled, _, _ := r.alarms()
		a, err := r.client.Alerts.Get(r.Context(), ruled)
		r.ok(err)
		children, err := r.client.Alerts.ProcessChildren(r.Context(), connector.ChildQuery{
			GUID: a.Columns["parent_process_guid"], Action: "PROC_CREATE", NodeID: a.NodeID,
		})
		r.ok(err)
		r.is("child", children.Events[0].Data["process_guid"], a.Columns["process_guid"])
		r.is("to go on from", children.LastTime.IsZero(), false)
	}},
	"alerts-notes-list": {test: func(r *crossRig) {
		ruled, _, _ := r.alarms()
		for _, text := range []string{"first", "second"} {
			_, err := r.client.Alerts.AddNote(r.Context(), ruled, text)
			r.ok(err)
		}
		notes, err := r.client.Alerts.Notes(r.Context(), ruled)
		r.ok(err)
		r.is("newest first", []string{notes[0].Text, notes[1].Text, notes[0].User}, []string{"second", "first", "admin"})
	}},
	"alerts-notes-add": {test: func(r *crossRig) {
		ruled, _, _ := r.alarms()
		id, err := r.client.Alerts.AddNote(r.Context(), ruled, "looks odd")
		r.ok(err)
		r.is("id", id, int64(1))
		r.is("notes", r.sim.Notes(ruled), []string{"looks odd"})
	}},
	"alerts-notes-update": {test: func(r *crossRig) {
		ruled, _, _ := r.alarms()
		id, err := r.client.Alerts.AddNote(r.Context(), ruled, "looks odd")
		r.ok(err)
		r.ok(r.client.Alerts.UpdateNote(r.Context(), ruled, id, "is fine"))
		r.is("notes", r.sim.Notes(ruled), []string{"is fine"})
	}},
	"alerts-notes-delete": {test: func(r *crossRig) {
		ruled, _, _ := r.alarms()
		id, err := r.client.Alerts.AddNote(r.Context(), ruled, "looks odd")
		r.ok(err)
		r.ok(r.client.Alerts.DeleteNote(r.Context(), ruled, id, connector.DeleteForGood))
		r.is("notes", r.sim.Notes(ruled), []string(nil))
	}},

	"carves-list": {test: func(r *crossRig) {
		carve := r.carve()
		page, err := r.client.Carves.Page(r.Context(), connector.CarveQuery{Host: r.sim.Hosts()[0].Identifier})
		r.ok(err)
		r.is("carve", []any{len(page.Results), page.Results[0].SessionID, page.Results[0].Hostname}, []any{1, carve.SessionID, "WIN-FIN-01"})
	}},
	"carves-download": {test: func(r *crossRig) {
		carve := r.carve()
		var out bytes.Buffer
		info, err := r.client.Carves.Download(r.Context(), carve.SessionID, &out)
		r.ok(err)
		r.is("archive", []any{info.Kind, info.Bytes, info.Bytes}, []any{"tar", int64(out.Len()), carve.Size})
		if _, err := r.client.Carves.Download(r.Context(), "NOSUCHCARV", &out); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown: %v", err)
		}
	}},
	"carves-delete": {test: func(r *crossRig) {
		carve := r.carve()
		r.ok(r.client.Carves.Delete(r.Context(), connector.DeleteForGood, carve.SessionID))
		r.is("carves left", len(r.sim.Carves()), 0)
		if err := r.client.Carves.Delete(r.Context(), connector.DeleteForGood, carve.SessionID); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("again: %v", err)
		}
	}},

	"response-list": {test: func(r *crossRig) {
		first, second := r.script(), r.script()
		var ids []int64
		for a, err := range r.client.Responses.List(r.Context(), connector.ResponseQuery{Column: "created_at", Search: "greet"}) {
			r.ok(err)
			r.is("done of hosts", []int{a.Done, a.Hosts}, []int{1, 1})
			ids = append(ids, a.ID)
		}
		r.is("oldest first", ids, []int64{first, second})
	}},
	"response-export": {test: func(r *crossRig) {
		r.script()
		var out bytes.Buffer
		n, err := r.client.Responses.Export(r.Context(), r.windows(), &out)
		r.ok(err)
		r.is("bytes", n, int64(out.Len()))
		table := r.table(out.Bytes())
		r.is("rows", len(table), 2)
		if !slices.Contains(table[1], "1/1") {
			r.Errorf("row %q", table[1])
		}
		out.Reset()
		other := r.sim.Hosts()[2].Identifier
		if _, err := r.client.Responses.Export(r.Context(), other, &out); !errors.Is(err, connector.ErrRefused) || out.Len() > 0 {
			r.Errorf("no actions: %v, %q", err, out.String())
		}
	}},
	"response-view": {test: func(r *crossRig) {
		cmd, err := r.client.Responses.RunScript(r.Context(), connector.Script{
			OSNames: []string{"Ubuntu"}, Tags: []string{"finance"}, Kind: connector.ScriptShell, Content: "echo hello",
		})
		r.ok(err)
		var rows []connector.HostCommand
		for !slices.ContainsFunc(rows, connector.HostCommand.Final) && r.Context().Err() == nil {
			rows, err = r.client.Responses.View(r.Context(), cmd.OpenC2ID)
			r.ok(err)
		}
		r.is("hosts", []string{rows[0].Hostname, rows[1].Hostname}, []string{"WIN-FIN-01", "WEB-01"})
		page, err := r.client.Responses.ViewPage(r.Context(), connector.ResponseView{OpenC2ID: cmd.OpenC2ID, Search: "web"})
		r.ok(err)
		r.is("count and total", []int{page.Count, page.Total}, []int{1, 2})
	}},
	"response-get": {test: func(r *crossRig) {
		rows, err := r.client.Responses.View(r.Context(), r.script())
		r.ok(err)
		got, err := r.client.Responses.Get(r.Context(), rows[0].CommandID)
		r.ok(err)
		r.is("command", []string{got.Status, got.Output, got.Hostname}, []string{"success", "hello", "WIN-FIN-01"})
		if _, err := r.client.Responses.Get(r.Context(), strings.Repeat("0", 32)); !errors.Is(err, connector.ErrNotFound) {
			r.Errorf("unknown: %v", err)
		}
	}},
	"response-status-all": {test: func(r *crossRig) {
		r.sim.SetOnline("2", false)
		r.sim.SetResponseEnabled("3", false)
		all, err := r.client.Responses.StatusAll(r.Context())
		r.ok(err)
		r.is("hosts", len(all), 6)
		r.is("offline", all[1].EndpointOnline, false)
		r.is("degraded", []bool{all[2].EndpointOnline, all[2].ResponseEnabled, all[2].Degraded}, []bool{true, false, true})
	}},
	"response-status": {test: func(r *crossRig) {
		r.sim.SetResponseEnabled("3", false)
		for _, ask := range []func() (connector.Channel, error){
			func() (connector.Channel, error) {
				return r.client.Responses.Status(r.Context(), r.sim.Hosts()[2].Identifier)
			},
			func() (connector.Channel, error) { return r.client.Responses.StatusByNode(r.Context(), 3) },
		} {
			channel, err := ask()
			r.ok(err)
			r.is("channel", channel, connector.Channel{EndpointOnline: true})
		}
	}},
	"response-restart-agent": {test: func(r *crossRig) {
		r.ok(r.client.Responses.RestartAgent(r.Context(), r.windows()))
		r.is("asked", r.sim.Commands()[0].Kind, ersim.KindRestart)
		r.sim.SetOnline("2", false)
		if err := r.client.Responses.RestartAgent(r.Context(), r.sim.Hosts()[1].Identifier); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("offline: %v", err)
		}
	}},
	"response-add": {test: func(r *crossRig) {
		c, host := r.client.Responses, hostOf(r.T, r.sim, "windows")
		hosts := []string{host.Identifier}
		r.output(c.Contain(r.Context(), connector.FirewallRule{Hosts: hosts, RuleName: "cut", DstPort: "1-1024", Protocol: "6", Direction: "2"}))
		r.is("contained", r.sim.Hosts()[0].Contained, true)
		r.output(c.RemoveRule(r.Context(), connector.FirewallRelease{Hosts: hosts, RuleName: "cut"}))
		r.is("released", r.sim.Hosts()[0].Contained, false)
		r.output(c.StopProcess(r.Context(), connector.StopProcess{Tags: []string{"finance"}, Name: "explorer.exe"}))
		r.is("processes", len(r.sim.Hosts()[0].Processes), len(host.Processes)-1)
		r.output(c.DeleteFile(r.Context(), connector.DeleteFile{Hosts: hosts, Path: host.Files[0]}))
		r.is("files", len(r.sim.Hosts()[0].Files), len(host.Files)-1)
	}},
	"response-custom-action": {test: func(r *crossRig) {
		c, hosts := r.client.Responses, []string{r.windows()}
		r.is("content", r.output(c.RunScript(r.Context(), connector.Script{Hosts: hosts, Kind: connector.ScriptBat, Content: "echo one"})), "one")
		r.is("file", r.output(c.RunScript(r.Context(), connector.Script{
			Hosts: hosts, Kind: connector.ScriptPowerShell, Params: "-v", File: connector.Upload{Name: "two.ps1", Content: []byte("Write-Output 'two'")},
		})), "two")
		sent := r.sim.Commands()[1].Parameters
		r.is("parameters", []string{sent["file_type"], sent["params"], sent["save_script"]}, []string{"2", "-v", "false"})
	}},
	"response-delete-bulk": {test: func(r *crossRig) {
		first, second := r.script(), r.script()
		r.ok(r.client.Responses.DeleteMany(r.Context(), []int64{first, second}, connector.DeleteForGood))
		page, err := r.client.Responses.Page(r.Context(), connector.ResponseQuery{})
		r.ok(err)
		r.is("left", page.Total, 0)
	}},
	"response-delete": {test: func(r *crossRig) {
		done := r.script()
		r.sim.SetOnline("1", false)
		waiting, err := r.client.Responses.RunScript(r.Context(), connector.Script{
			Hosts: []string{r.sim.Hosts()[0].Identifier}, Kind: connector.ScriptBat, Content: "echo",
		})
		r.ok(err)
		if err := r.client.Responses.Delete(r.Context(), waiting.OpenC2ID, connector.DeleteForGood); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("one that is under way: %v", err)
		}
		r.ok(r.client.Responses.Delete(r.Context(), done, connector.DeleteForGood))
		if _, err := r.client.Responses.View(r.Context(), done); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("still there: %v", err)
		}
	}},
	"response-cancel": {test: func(r *crossRig) {
		host := r.windows()
		r.sim.SetOnline(host, false)
		cmd, err := r.client.Responses.StopProcess(r.Context(), connector.StopProcess{Hosts: []string{host}, PID: "4"})
		r.ok(err)
		r.ok(r.client.Responses.Cancel(r.Context(), cmd.CommandID))
		got, err := r.client.Responses.Get(r.Context(), cmd.CommandID)
		r.ok(err)
		r.is("state", []any{got.Status, got.Final()}, []any{connector.CommandCancelled, true})
	}},
	"response-live": {test: func(r *crossRig) {
		for _, script := range []connector.LiveScript{
			{Content: "echo one\necho two"},
			{File: connector.Upload{Name: "a.ps1", Content: []byte("echo one\necho two")}},
		} {
			script.Host, script.Kind = r.windows(), connector.ScriptPowerShell
			cmd, err := r.client.Responses.Live(r.Context(), script)
			r.ok(err)
			r.is("ids", []bool{cmd.OpenC2ID > 0, len(cmd.CommandID) == 32}, []bool{true, true})
			r.is("output", r.output(cmd, nil), "one\ntwo")
		}
	}},
	"ws-live-response": {test: func(r *crossRig) {
		run := func(content string) (connector.LiveOutput, []string) {
			cmd, err := r.client.Responses.Live(r.Context(), connector.LiveScript{Host: r.windows(), Kind: connector.ScriptPowerShell, Content: content})
			r.ok(err)
			var pieces []string
			out, err := r.client.Responses.LiveOutput(r.Context(), cmd, time.Minute, func(piece string) { pieces = append(pieces, piece) })
			r.ok(err)
			return out, pieces
		}
		out, pieces := run("echo one\necho two")
		r.is("output", out, connector.LiveOutput{Output: "one\ntwo\n", Status: connector.CommandSuccess, Complete: true})
		r.is("pieces", pieces, []string{"one\n", "two\n"})
		out, _ = run("echo one\nexit 3")
		r.is("failure", []any{out.Output, out.Status, out.Complete}, []any{"one\n", connector.CommandFailure, true})
		r.says("reason", out.Message, "exit status 3")
	}},

	"defender-scan-now": {test: func(r *crossRig) {
		r.says("scan", r.output(r.client.Defender.Scan(r.Context(), r.windows(), connector.ScanCustom, `C:\Users`)), `"ScanType":"CustomScan"`)
	}},
	"defender-schedule-scan": {test: func(r *crossRig) {
		d, host := r.client.Defender, r.windows()
		r.output(d.ScheduleScan(r.Context(), host, connector.ScanSchedule{Kind: connector.ScanQuick, At: 30 * time.Minute}))
		r.output(d.ScheduleScan(r.Context(), host, connector.ScanSchedule{Kind: connector.ScanFull, At: 13*time.Hour + 5*time.Minute, Day: connector.ScanSaturday}))
		settings := r.output(d.CurrentSettings(r.Context(), host))
		r.says("settings", settings, `"ScanScheduleDay":7,"ScanScheduleTime":"13:05:00","ScanScheduleQuickScanTime":"00:30:00"`)
	}},
	"defender-check-update": {test: func(r *crossRig) {
		r.says("update", r.output(r.client.Defender.CheckUpdate(r.Context(), r.windows())), "AntivirusSignatureVersion")
	}},
	"defender-configure": {test: func(r *crossRig) {
		d, host := r.client.Defender, r.windows()
		r.output(d.Configure(r.Context(), host, connector.AddExclusion, connector.Exclusion{Path: `C:\Build`, FileType: ".tmp", Process: "cl.exe"}))
		r.output(d.Configure(r.Context(), host, connector.RemoveExclusion, connector.Exclusion{FileType: ".TMP"}))
		r.says("settings", r.output(d.CurrentSettings(r.Context(), host)),
			`"ExclusionPath":["C:\\Build"],"ExclusionProcess":["cl.exe"],"ExclusionExtension":[]`)
	}},
	"defender-current-settings": {test: func(r *crossRig) {
		r.says("settings", r.output(r.client.Defender.CurrentSettings(r.Context(), r.windows())), `"ScanScheduleDay":0`)
	}},
	"defender-computer-status": {test: func(r *crossRig) {
		r.says("status", r.output(r.client.Defender.ComputerStatus(r.Context(), r.windows())), `"AntivirusEnabled":true`)
	}},
	"defender-get-quarantine": {test: func(r *crossRig) {
		r.is("quarantine", r.output(r.client.Defender.Quarantine(r.Context(), r.windows())), "[]")
	}},
	"defender-status-refresh": {test: func(r *crossRig) {
		r.says("status", r.output(r.client.Defender.RefreshStatus(r.Context(), r.windows())), `"state":"On"`)
		linux := hostOf(r.T, r.sim, "ubuntu").Identifier
		if _, err := r.client.Defender.RefreshStatus(r.Context(), linux); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("Linux: %v", err)
		}
	}},
	"defender-quarantine-carve": {test: func(r *crossRig) {
		const path = `C:\Users\Public\bad.exe`
		r.sim.Raise(ersim.AlertSpec{Host: "1", Threat: "Trojan:Win32/Test", Columns: map[string]string{"action": "FILE_WRITE", "target_path": path}})
		host := r.sim.Hosts()[0].Identifier
		r.says("scan", r.output(r.client.Defender.Scan(r.Context(), host, connector.ScanFull, "")), "Trojan:Win32/Test")
		r.ok(r.client.Defender.CarveQuarantined(r.Context(), host, path))
		for len(r.sim.Carves()) == 0 && r.Context().Err() == nil {
			_, err := r.client.Carves.Page(r.Context(), connector.CarveQuery{})
			r.ok(err)
		}
		r.is("carve", r.sim.Carves()[0].Host, host)
		if err := r.client.Defender.CarveQuarantined(r.Context(), host, `C:\nothing`); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("no such file: %v", err)
		}
	}},

	"distributed-add": {test: func(r *crossRig) {
		hosts := r.sim.Hosts()
		ticket, err := r.client.Queries.Live(r.Context(), connector.LiveQuery{
			SQL: "select name from processes", Hosts: []string{hosts[0].Identifier}, Tags: []string{"finance"}, OSNames: []string{"Ubuntu"},
		})
		r.ok(err)
		r.is("asked", []any{ticket.Online, ticket.Hosts[0].Name, ticket.Hosts[1].Name}, []any{2, "WIN-FIN-01", "WEB-01"})
		ticket, err = r.client.Queries.Live(r.Context(), connector.LiveQuery{SQL: "select 1", AllHosts: true})
		r.ok(err)
		r.is("all hosts", ticket.Online, len(hosts))
		if _, err := r.client.Queries.Live(r.Context(), connector.LiveQuery{SQL: "select nosuch from processes", AllHosts: true}); !errors.Is(err, connector.ErrRefused) {
			r.Errorf("bad SQL: %v", err)
		}
	}},
	"ws-distributed-result": {test: func(r *crossRig) {
		ticket, err := r.client.Queries.Live(r.Context(), connector.LiveQuery{SQL: "select * from windows_firewall_rules", Tags: []string{"finance", "web"}})
		r.ok(err)
		results, err := r.client.Queries.Results(r.Context(), ticket, time.Minute)
		r.ok(err)
		failed := map[string]bool{}
		for _, h := range results.Hosts {
			failed[h.Name] = h.Failed
		}
		r.is("answers", []any{results.Complete, results.Online, failed}, []any{true, 2, map[string]bool{"WIN-FIN-01": false, "WEB-01": true}})
	}},
}
