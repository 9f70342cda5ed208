package connector_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
)

// The services that all servers have, on one that has API v0 alone. What the
// options say is all that differs.

func TestOldServerHosts(t *testing.T) {
	sim, c := simulate(t, "2.0")
	ctx := t.Context()
	if err := c.Login(ctx); err != nil {
		t.Fatal(err)
	}
	fleet := sim.Hosts()
	away := fleet[1]
	sim.SetOnline(away.Identifier, false)
	sim.SetTags(fleet[0].Identifier, "board")
	seen, before := 0, sim.Calls()["v0-nodes"]
	for h, err := range c.Hosts.List(ctx, connector.HostQuery{Limit: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if h.Online == nil || *h.Online == (h.Identifier == away.Identifier) || h.MAC == "" || h.LastCheckin.IsZero() || h.Platform == "" {
			t.Errorf("host %+v", h)
		}
	}
	if seen != len(fleet) {
		t.Errorf("%d hosts of %d", seen, len(fleet))
	}
	if n := sim.Calls()["v0-nodes"] - before; n != 2 { // all of them, and who is online
		t.Errorf("%d calls for the pages of the list", n)
	}
	for name, tt := range map[string]struct {
		query connector.HostQuery
		count int
	}{
		"offline":  {connector.HostQuery{Online: new(false)}, 1},
		"online":   {connector.HostQuery{Online: new(true)}, len(fleet) - 1},
		"tag":      {connector.HostQuery{Search: "BOARD"}, 1},
		"nobody":   {connector.HostQuery{Search: "no such name"}, 0},
		"past end": {connector.HostQuery{Start: 100}, len(fleet)},
	} {
		if page, err := c.Hosts.Page(ctx, tt.query); err != nil || page.Count != tt.count || len(page.Malformed) != 0 {
			t.Errorf("%s: %d of %d, %v", name, page.Count, tt.count, err)
		}
	}
	sorted, err := c.Hosts.Page(ctx, connector.HostQuery{Column: "host", Desc: true})
	if err != nil || !slices.IsSortedFunc(sorted.Results, func(a, b connector.Host) int {
		return strings.Compare(strings.ToLower(b.Name), strings.ToLower(a.Name))
	}) {
		t.Errorf("sorted by name: %+v, %v", sorted.Results, err)
	}
	counts, err := c.Hosts.Count(ctx)
	total := 0
	for _, n := range counts {
		total += n.Online + n.Offline
	}
	if err != nil || total != len(fleet) || counts["windows"].Online == 0 {
		t.Errorf("counts %v, %v", counts, err)
	}
	for _, ref := range []string{fleet[0].Identifier, "1"} {
		if h, err := c.Hosts.Get(ctx, ref); err != nil || h.Identifier != fleet[0].Identifier || h.ID != 1 || h.Name != fleet[0].Name {
			t.Errorf("host %s: %+v, %v", ref, h, err)
		}
		if err := c.Hosts.AddTag(ctx, ref, "seen"); err != nil {
			t.Error(err)
		}
		if tags, err := c.Hosts.Tags(ctx, ref); err != nil || !slices.Equal(tags, []string{"board", "seen"}) {
			t.Errorf("tags %v, %v", tags, err)
		}
		if err := c.Hosts.RemoveTag(ctx, ref, "seen"); err != nil {
			t.Error(err)
		}
		if tags, err := c.Hosts.Tags(ctx, ref); err != nil || !slices.Equal(tags, []string{"board"}) {
			t.Errorf("tags %v, %v", tags, err)
		}
	}
	for _, ref := range []string{"nobody", "4711"} {
		if _, err := c.Hosts.Get(ctx, ref); !errors.Is(err, connector.ErrNotFound) {
			t.Errorf("host %s: %v", ref, err)
		}
	}
	if err := c.Hosts.AddTag(ctx, "4711", "seen"); !errors.Is(err, connector.ErrNotFound) || errors.Is(err, connector.ErrNotSent) {
		t.Errorf("tag an unknown host: %v", err)
	}
	if err := c.Logout(ctx); err != nil {
		t.Error(err)
	}
}

func TestOldServerAlerts(t *testing.T) {
	sim, c := simulate(t, "2.0")
	ctx := t.Context()
	fleet := sim.Hosts()
	if page, err := c.Alerts.Page(ctx, connector.AlertQuery{}); err != nil || page.Count != 0 || page.Results == nil {
		t.Fatalf("no alerts: %+v, %v", page, err)
	}
	var raised []int64
	for i := range 7 {
		raised = append(raised, sim.Raise(ersim.AlertSpec{Host: fleet[i%3].Identifier, Rule: "Odd rule", Severity: "CRITICAL",
			Columns: map[string]string{"pid": "7", "cmdline": `mimikatz "ö"`}}))
	}
	slices.Reverse(raised)
	before := sim.Calls()["v0-alerts"]
	var got []int64
	for a, err := range c.Alerts.List(ctx, connector.AlertQuery{Resolved: new(false), Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		if a.Hostname == "" || a.RuleName != "Odd rule" || a.CreatedAt.IsZero() || a.Columns["cmdline"] != `mimikatz "ö"` || a.HasDerivedID() {
			t.Errorf("alert %+v", a)
		}
		got = append(got, a.ID)
	}
	if !slices.Equal(got, raised) {
		t.Errorf("got %v, want %v", got, raised)
	}
	if n := sim.Calls()["v0-alerts"] - before; n != len(fleet)+1 {
		t.Errorf("%d calls for %d hosts", n, len(fleet))
	}
	for name, tt := range map[string]struct {
		query connector.AlertQuery
		count int
	}{
		"host":     {connector.AlertQuery{Host: fleet[0].Identifier}, 3},
		"no alert": {connector.AlertQuery{Host: fleet[4].Identifier}, 0},
		"ids":      {connector.AlertQuery{IDs: raised[:2]}, 2},
		"resolved": {connector.AlertQuery{Resolved: new(true)}, 0},
		"severity": {connector.AlertQuery{Severity: "critical,info"}, 7},
		"search":   {connector.AlertQuery{Search: "odd"}, 7},
		"source":   {connector.AlertQuery{Source: "ioc"}, 0},
		"since":    {connector.AlertQuery{Since: time.Now().AddDate(0, 0, 2)}, 0},
	} {
		if page, err := c.Alerts.Page(ctx, tt.query); err != nil || page.Count != tt.count {
			t.Errorf("%s: %d of %d, %v", name, page.Count, tt.count, err)
		}
	}
	if _, err := c.Alerts.Page(ctx, connector.AlertQuery{Host: "nobody"}); !errors.Is(err, connector.ErrRefused) {
		t.Errorf("unknown host: %v", err)
	}
	one, err := c.Alerts.Get(ctx, raised[0])
	if err != nil || one.ID != raised[0] || one.Columns["pid"] != "7" || one.Hostname != fleet[0].Name || one.RuleID == 0 {
		t.Errorf("alert %+v, %v", one, err)
	}
	if _, err := c.Alerts.Get(ctx, 4711); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("unknown alert: %v", err)
	}
	if err := c.Alerts.Resolve(ctx, raised[:1], true, ""); !errors.Is(err, connector.ErrUnavailable) {
		t.Errorf("resolve: %v", err)
	}
}

func TestOldServerLiveQuery(t *testing.T) {
	sim, c := simulate(t, "2.0")
	ctx := t.Context()
	fleet := sim.Hosts()
	sim.SetTags(fleet[2].Identifier, "board")
	sim.SetOnline(fleet[1].Identifier, false)
	for name, tt := range map[string]struct {
		query  connector.LiveQuery
		online int
	}{
		"hosts":       {connector.LiveQuery{Hosts: []string{fleet[0].Identifier, fleet[1].Identifier}}, 1},
		"tag":         {connector.LiveQuery{Tags: []string{"board"}}, 1},
		"both":        {connector.LiveQuery{Hosts: []string{fleet[2].Identifier, fleet[0].Identifier}, Tags: []string{"board"}}, 2},
		"all of them": {connector.LiveQuery{AllHosts: true}, len(fleet) - 1},
	} {
		tt.query.SQL = "select * from system_info"
		ticket, err := c.Queries.Live(ctx, tt.query)
		if err != nil || ticket.Online != tt.online {
			t.Errorf("%s: ticket %+v, %v", name, ticket, err)
			continue
		}
		results, err := c.Queries.Results(ctx, ticket, time.Minute)
		if err != nil || !results.Complete || len(results.Hosts) != tt.online {
			t.Errorf("%s: %+v, %v", name, results, err)
		}
		for _, host := range results.Hosts {
			if host.Identifier == "" || len(host.Rows) == 0 {
				t.Errorf("%s: host %+v", name, host)
			}
		}
	}
	for name, q := range map[string]connector.LiveQuery{
		"unknown host": {Hosts: []string{"nobody"}}, "unknown tag": {Tags: []string{"nothing"}}, "offline": {Hosts: []string{fleet[1].Identifier}},
	} {
		q.SQL = "select 1"
		if _, err := c.Queries.Live(ctx, q); !errors.Is(err, connector.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Queries.Live(ctx, connector.LiveQuery{SQL: "select 1"}); !errors.Is(err, connector.ErrEmptyTarget) {
		t.Errorf("no target: %v", err)
	}
}

func TestOldServerResponses(t *testing.T) {
	sim, c := simulate(t, "2.0")
	ctx := t.Context()
	target := hostOf(t, sim, "windows")
	for name, send := range map[string]func() (connector.Command, error){
		"delete": func() (connector.Command, error) {
			return c.Responses.DeleteFile(ctx, connector.DeleteFile{Hosts: []string{target.Identifier}, Path: `C:\evil.exe`})
		},
		"stop": func() (connector.Command, error) {
			return c.Responses.StopProcess(ctx, connector.StopProcess{Hosts: []string{target.Identifier}, Name: "evil.exe", PID: "7"})
		},
	} {
		cmd, err := send()
		if err != nil || cmd.CommandID == "" || cmd.OpenC2ID != 0 {
			t.Errorf("%s: %+v, %v", name, cmd, err)
			continue
		}
		done := finish(t, c, cmd)
		if done.CommandID != cmd.CommandID || !bytes.Contains(done.Command, []byte(`"hostname":"`+target.Name+`"`)) {
			t.Errorf("%s: %+v", name, done)
		}
	}
	if _, err := c.Responses.Get(ctx, "nothing"); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("unknown command: %v", err)
	}
	if _, err := c.Responses.StopProcess(ctx, connector.StopProcess{Hosts: []string{"a", "b"}, Name: "x"}); !errors.Is(err, connector.ErrInvalid) {
		t.Errorf("two hosts: %v", err)
	}
	if _, err := c.Responses.StopProcess(ctx, connector.StopProcess{Hosts: []string{"nobody"}, Name: "x"}); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("unknown host: %v", err)
	}
}

func TestOldServerCarves(t *testing.T) {
	sim, c := simulate(t, "2.0")
	ctx := t.Context()
	target := hostOf(t, sim, "windows")
	ticket, err := c.Queries.Live(ctx, connector.LiveQuery{Hosts: []string{target.Identifier},
		SQL: "select * from carves where carve = 1 and path = '" + target.Files[0] + "'"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Queries.Results(ctx, ticket, time.Minute); err != nil {
		t.Fatal(err)
	}
	var carve connector.Carve
	for !carve.Done() {
		if carve, err = c.Carves.ByQuery(ctx, ticket.QueryID, target.Identifier); err != nil && !errors.Is(err, connector.ErrNotFound) {
			t.Fatal(err)
		}
	}
	page, err := c.Carves.Page(ctx, connector.CarveQuery{Search: target.Name})
	if err != nil || len(page.Results) != 1 || page.Results[0].SessionID != carve.SessionID || page.Results[0].Hostname != target.Name || !page.Results[0].Done() {
		t.Errorf("carves %+v, %v; want %+v", page, err, carve)
	}
	var file bytes.Buffer
	if info, err := c.Carves.Download(ctx, carve.SessionID, &file); err != nil || info.Bytes == 0 || info.Kind == "" {
		t.Errorf("download %+v, %v", info, err)
	}
	if _, err := c.Carves.Download(ctx, "NOSUCH", &file); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
	if _, err := c.Carves.ByQuery(ctx, 4711, target.Identifier); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("unknown query: %v", err)
	}
}
