package connector_test

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// simulate starts a simulator and a client that has to find its way by itself.
func simulate(t *testing.T, profile string) (*ersim.Server, *connector.Client) {
	t.Helper()
	r := newCrossRig(t, cross{profile: profile})
	return r.sim, r.client
}

// hostOf is a host of the fleet that is online and of a platform.
func hostOf(t *testing.T, server *ersim.Server, platform string) ersim.HostState {
	t.Helper()
	for _, h := range server.Hosts() {
		if h.Platform == platform && h.Online && h.ResponseEnabled {
			return h
		}
	}
	t.Fatalf("no %s host is online", platform)
	return ersim.HostState{}
}

// finish waits for the end of an action and returns what the host said.
func finish(t *testing.T, c *connector.Client, cmd connector.Command) connector.HostCommand {
	t.Helper()
	ctx := t.Context()
	for {
		var rows []connector.HostCommand
		var err error
		if cmd.OpenC2ID != 0 {
			rows, err = c.Responses.View(ctx, cmd.OpenC2ID)
		} else {
			var row connector.HostCommand
			row, err = c.Responses.Get(ctx, cmd.CommandID)
			rows = []connector.HostCommand{row}
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 1 && (rows[0].Status == "success" || rows[0].Status == "failure") {
			return rows[0]
		}
	}
}

func TestSimulatorAllReleases(t *testing.T) {
	for _, profile := range []string{"4.0", "4.0-community", "2.1.2"} {
		t.Run(profile, func(t *testing.T) {
			server, c := simulate(t, profile)
			ctx := t.Context()
			if err := c.Login(ctx); err != nil {
				t.Fatal(err)
			}
			if index, err := c.Index(ctx); err != nil || index.Before35 != (profile == "2.1.2") {
				t.Errorf("index %+v, %v", index, err)
			}
			fleet := server.Hosts()
			var hosts []connector.Host
			for h, err := range c.Hosts.List(ctx, connector.HostQuery{Limit: 2}) {
				if err != nil {
					t.Fatal(err)
				}
				hosts = append(hosts, h)
			}
			if len(hosts) != len(fleet) {
				t.Errorf("%d hosts of %d", len(hosts), len(fleet))
			}
			target := fleet[0]
			byID, err := c.Hosts.Get(ctx, "1")
			if err != nil || byID.Identifier != target.Identifier || byID.LastCheckin.IsZero() || byID.Name != target.Name {
				t.Errorf("host by id: %+v, %v; want %s %s", byID, err, target.Identifier, target.Name)
			}
			if byName, err := c.Hosts.Get(ctx, target.Identifier); err != nil || byName.ID != target.ID {
				t.Errorf("host by identifier: %+v, %v", byName, err)
			}
			if _, err := c.Hosts.Get(ctx, "nobody"); !errors.Is(err, connector.ErrNotFound) {
				t.Errorf("unknown host: %v", err)
			}
			if counts, err := c.Hosts.Count(ctx); err != nil || counts["windows"].Online == 0 {
				t.Errorf("counts %v, %v", counts, err)
			}
			if err := c.Hosts.AddTag(ctx, target.Identifier, "seen"); err != nil {
				t.Error(err)
			}
			if tags, err := c.Hosts.Tags(ctx, target.Identifier); err != nil || !slices.Contains(tags, "seen") {
				t.Errorf("tags %v, %v", tags, err)
			}
			if err := c.Hosts.RemoveTag(ctx, target.Identifier, "seen"); err != nil {
				t.Error(err)
			}
			checkAlerts(t, server, c, target)
			checkLive(t, c, target)
			if err := c.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func checkAlerts(t *testing.T, server *ersim.Server, c *connector.Client, target ersim.HostState) {
	ctx := t.Context()
	columns := map[string]string{"pid": "7", "cmdline": `mimikatz "ö"`, "time": "1795317700"}
	var raised []int64
	for range 5 {
		raised = append(raised, server.Raise(ersim.AlertSpec{Host: target.Identifier, Rule: "Odd rule", Severity: "CRITICAL",
			Techniques: []string{"T1003"}, Columns: columns, Separate: true}))
	}
	intel := server.Raise(ersim.AlertSpec{Host: target.Identifier, Source: "virustotal", Intel: map[string]any{"positives": 60}})
	slices.Reverse(raised)
	want := append([]int64{intel}, raised...)

	var got []int64
	var rows []connector.Alert
	open := false
	for a, err := range c.Alerts.List(ctx, connector.AlertQuery{Resolved: &open, Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.ID)
		rows = append(rows, a)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("alerts %v, want %v", got, want)
	}
	rule, err := c.Rules.Get(ctx, rows[1].RuleID)
	if err != nil || rule.Name != "Odd rule" || !slices.Equal(rule.Techniques, []string{"T1003"}) {
		t.Errorf("rule %+v, %v", rule, err)
	}
	host, err := c.Hosts.Get(ctx, target.Identifier)
	if err != nil {
		t.Fatal(err)
	}
	normal := connector.Normalize("er", c.ConsoleURL(), rows[1], &host, &rule)
	if normal.Severity != soar.SeverityCritical || normal.Event["cmdline"] != `mimikatz "ö"` || normal.EventTime.Unix() != 1795317700 ||
		normal.Host.Identifier != target.Identifier || normal.Status != soar.StatusOpen || normal.CreatedAt.IsZero() {
		t.Errorf("normalised %+v", normal)
	}
	if rows[0].Source != "virustotal" || !bytes.Contains(rows[0].Intel, []byte("positives")) {
		t.Errorf("intel alert %+v", rows[0])
	}

	detail, err := c.Alerts.Get(ctx, raised[0])
	if err != nil || detail.ID != raised[0] || detail.Columns["pid"] != "7" || detail.Platform != target.Platform {
		t.Errorf("detail %+v, %v", detail, err)
	}
	if _, err := c.Alerts.Get(ctx, 99999); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("unknown alert: %v", err)
	}
	if _, err := c.Alerts.AggregatedEvents(ctx, raised[0], connector.AggregatedQuery{}); err != nil {
		t.Error(err)
	}

	if err := c.Alerts.Resolve(ctx, raised[:1], false, "a test"); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Alerts.Get(ctx, raised[0]); err != nil || connector.Normalize("er", "", a, nil, nil).Status != soar.StatusResolved {
		t.Errorf("resolved: %+v, %v", a, err)
	}
	if err := c.Alerts.Reopen(ctx, raised[:1]); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Alerts.Get(ctx, raised[0]); err != nil || connector.Normalize("er", "", a, nil, nil).Status != soar.StatusOpen {
		t.Errorf("reopened: %+v, %v", a, err)
	}
}

func checkLive(t *testing.T, c *connector.Client, target ersim.HostState) {
	ctx := t.Context()
	ticket, err := c.Queries.Live(ctx, connector.LiveQuery{SQL: "select name from processes;", Hosts: []string{target.Identifier}})
	if err != nil || ticket.Online != 1 {
		t.Fatalf("live query: %+v, %v", ticket, err)
	}
	results, err := c.Queries.Results(ctx, ticket, time.Minute)
	if err != nil || !results.Complete || len(results.Hosts) != 1 || results.Hosts[0].Identifier != target.Identifier || len(results.Hosts[0].Rows) == 0 {
		t.Errorf("results: %+v, %v", results, err)
	}
	if ticket, err = c.Queries.Live(ctx, connector.LiveQuery{SQL: "select name from processes;", AllHosts: true}); err != nil || ticket.Online < 2 {
		t.Fatalf("all hosts: %+v, %v", ticket, err)
	}
	if results, err = c.Queries.Results(ctx, ticket, time.Minute); err != nil || len(results.Hosts) != ticket.Online {
		t.Errorf("all results: %+v, %v", results, err)
	}
}

func TestSimulatorResponses(t *testing.T) {
	server, c := simulate(t, "4.0")
	ctx := t.Context()
	win := hostOf(t, server, "windows")
	hosts := []string{win.Identifier}

	channel, err := c.Responses.Status(ctx, win.Identifier)
	if err != nil || !channel.ResponseEnabled || !channel.EndpointOnline {
		t.Errorf("channel %+v, %v", channel, err)
	}
	all, err := c.Responses.StatusAll(ctx)
	if err != nil || len(all) != len(server.Hosts()) {
		t.Errorf("channels %+v, %v", all, err)
	}

	cmd, err := c.Responses.Contain(ctx, connector.FirewallRule{Hosts: hosts, RuleName: "erbridge-1", RuleGroup: "erbridge", Description: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if end := finish(t, c, cmd); end.Status != "success" {
		t.Errorf("contain: %+v", end)
	}
	if h := hostOf(t, server, "windows"); !h.Contained {
		t.Error("host is not contained")
	}
	var actions []connector.ResponseAction
	for a, err := range c.Responses.List(ctx, connector.ResponseQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		actions = append(actions, a)
	}
	if len(actions) != 1 || actions[0].Action != "contain" || actions[0].Done != 1 || actions[0].Hosts != 1 || actions[0].CreatedAt.IsZero() ||
		!bytes.Contains(actions[0].Command, []byte("erbridge-1")) {
		t.Errorf("actions %+v", actions)
	}
	if cmd, err = c.Responses.Release(ctx, hosts, "erbridge-1"); err != nil {
		t.Fatal(err)
	}
	finish(t, c, cmd)
	if h := hostOf(t, server, "windows"); h.Contained {
		t.Error("host is still contained")
	}

	process := win.Processes[len(win.Processes)-1]
	if cmd, err = c.Responses.StopProcess(ctx, connector.StopProcess{Hosts: hosts, PID: strconv.FormatInt(process.PID, 10), Name: process.Path}); err != nil {
		t.Fatal(err)
	}
	finish(t, c, cmd)
	if cmd, err = c.Responses.DeleteFile(ctx, connector.DeleteFile{Hosts: hosts, Path: `C:\nothing\here.exe`}); err != nil {
		t.Fatal(err)
	}
	if end := finish(t, c, cmd); end.Status != "failure" || end.Message == "" {
		t.Errorf("delete of no file: %+v", end)
	}
	if cmd, err = c.Responses.RunScript(ctx, connector.Script{Hosts: hosts, Kind: connector.ScriptPowerShell, Content: "whoami", Name: "who"}); err != nil || cmd.OpenC2ID == 0 {
		t.Fatalf("script: %+v, %v", cmd, err)
	}
	finish(t, c, cmd)
	if err := c.Responses.RestartAgent(ctx, win.Identifier); err != nil {
		t.Error(err)
	}
	if _, err := c.Responses.Get(ctx, "00000000000000000000000000000000"); !errors.Is(err, connector.ErrNotFound) {
		t.Errorf("unknown command: %v", err)
	}

	for name, ask := range map[string]func() (connector.Command, error){
		"scan": func() (connector.Command, error) {
			return c.Defender.Scan(ctx, win.Identifier, connector.ScanQuick, "")
		},
		"status":     func() (connector.Command, error) { return c.Defender.ComputerStatus(ctx, win.Identifier) },
		"quarantine": func() (connector.Command, error) { return c.Defender.Quarantine(ctx, win.Identifier) },
	} {
		cmd, err := ask()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if end := finish(t, c, cmd); end.Message == "" {
			t.Errorf("%s: no answer: %+v", name, end)
		}
	}
}

func TestSimulatorNotes(t *testing.T) {
	server, c := simulate(t, "4.0")
	ctx := t.Context()
	id := server.Raise(ersim.AlertSpec{})
	note, err := c.Alerts.AddNote(ctx, id, "first")
	if err != nil || note == 0 {
		t.Fatalf("note %d, %v", note, err)
	}
	if err := c.Alerts.UpdateNote(ctx, id, note, "second"); err != nil {
		t.Fatal(err)
	}
	notes, err := c.Alerts.Notes(ctx, id)
	if err != nil || len(notes) != 1 || notes[0].ID != note || notes[0].Text != "second" || notes[0].CreatedAt.IsZero() {
		t.Errorf("notes %+v, %v", notes, err)
	}
	if err := c.Alerts.DeleteNote(ctx, id, note, connector.DeleteForGood); err != nil || len(server.Notes(id)) != 0 {
		t.Errorf("after delete: %v, %v", server.Notes(id), err)
	}
}

func TestSimulatorCarve(t *testing.T) {
	for _, platform := range []string{"windows", "ubuntu"} {
		t.Run(platform, func(t *testing.T) {
			server, c := simulate(t, "4.0")
			ctx := t.Context()
			host := hostOf(t, server, platform)
			sql := "select * from carves where carve = 1 and path = '" + host.Files[0] + "';"
			ticket, err := c.Queries.Live(ctx, connector.LiveQuery{SQL: sql, Hosts: []string{host.Identifier}})
			if err != nil {
				t.Fatal(err)
			}
			var carve connector.Carve
			for !carve.Done() {
				if carve, err = c.Carves.ByQuery(ctx, ticket.QueryID, host.Identifier); err != nil && !errors.Is(err, connector.ErrNotFound) {
					t.Fatal(err)
				}
			}
			var archive bytes.Buffer
			info, err := c.Carves.Download(ctx, carve.SessionID, &archive)
			if err != nil || info.Bytes != int64(archive.Len()) || !strings.HasSuffix(carve.Archive, "."+info.Kind) {
				t.Errorf("download %+v of %s, %v", info, carve.Archive, err)
			}
			page, err := c.Carves.Page(ctx, connector.CarveQuery{Host: host.Identifier})
			if err != nil || len(page.Results) != 1 || page.Results[0].SessionID != carve.SessionID {
				t.Errorf("carves %+v, %v", page, err)
			}
			if err := c.Carves.Delete(ctx, connector.DeleteForGood, carve.SessionID); err != nil {
				t.Error(err)
			}
			if _, err := c.Carves.Download(ctx, carve.SessionID, &archive); !errors.Is(err, connector.ErrNotFound) {
				t.Errorf("after delete: %v", err)
			}
		})
	}
}

func TestSimulatorCommunityLacksEnterprise(t *testing.T) {
	for _, profile := range []string{"4.0-community", "2.1.2"} {
		_, c := simulate(t, profile)
		ctx := t.Context()
		_, err1 := c.Responses.Page(ctx, connector.ResponseQuery{})
		_, err2 := c.Responses.Release(ctx, []string{"H"}, "r")
		_, err3 := c.Defender.ComputerStatus(ctx, "H")
		_, err4 := c.Alerts.AddNote(ctx, 1, "n")
		for _, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, connector.ErrUnavailable) || errors.Is(err, connector.ErrUncertain) {
				t.Errorf("%s: %v", profile, err)
			}
		}
	}
}

func TestSimulatorFaults(t *testing.T) {
	server, c := simulate(t, "4.0")
	ctx := t.Context()
	if err := c.Login(ctx); err != nil {
		t.Fatal(err)
	}
	host := hostOf(t, server, "windows").Identifier
	commands := func() int { return len(server.Commands()) }
	for _, tt := range []struct {
		fault    ersim.FaultKind
		want     error // of the effect
		happened bool
	}{
		{ersim.RateLimit, connector.ErrNotSent, false},
		{ersim.Unavailable, connector.ErrNotSent, false},
		{ersim.ServerError, connector.ErrUncertain, false},
		{ersim.HTMLAnswer, connector.ErrUncertain, false},
		{ersim.DropBefore, connector.ErrUncertain, false},
		{ersim.DropAfter, connector.ErrUncertain, true},
		{ersim.Truncate, connector.ErrUncertain, true},
		{ersim.ExpireToken, nil, true},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			before, calls := commands(), server.Calls()["response-add"]
			server.Inject(ersim.Fault{Kind: tt.fault, Call: "response-add"})
			_, err := c.Responses.StopProcess(ctx, connector.StopProcess{Hosts: []string{host}, PID: "4242"})
			if !errors.Is(err, tt.want) {
				t.Errorf("effect: got %v, want %v", err, tt.want)
			}
			if got := commands() > before; got != tt.happened {
				t.Errorf("happened: %v, want %v", got, tt.happened)
			}
			wantCalls := 1
			if tt.fault == ersim.ExpireToken {
				wantCalls = 2 // HTTP 401, then with a new token
			}
			if n := server.Calls()["response-add"] - calls; n != wantCalls {
				t.Errorf("%d calls, want %d", n, wantCalls)
			}
			server.ClearFaults()
			if tt.fault == ersim.HTMLAnswer {
				return // a read does not repeat it: a wrong base path looks the same
			}
			server.Inject(ersim.Fault{Kind: tt.fault, Call: "hosts-count"})
			if _, err := c.Hosts.Count(ctx); err != nil {
				t.Errorf("read: %v", err)
			}
			server.ClearFaults()
		})
	}
}
