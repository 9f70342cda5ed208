package daemon

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/redact"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks/sinksim"
)

const tagsWhenAgreed = `
playbook: tag-when-agreed
mode: enforce
steps:
  - {id: ask, do: approval.ask, with: {text: "Tag it?", from: [leads], expires: 1h}}
  - {id: tag, if: .steps.ask.granted, do: host.tag, with: {host: "${{ .alert.host.identifier }}", tag: under-investigation}}
`

// chat is a workspace that a site's daemon writes to.
type chat struct {
	*site
	sim *sinksim.Slack
}

func newChat(s *site) *chat {
	srv := httptest.NewUnstartedServer(nil)
	sim := sinksim.NewSlack(sinksim.SlackOptions{URL: "http://" + srv.Listener.Addr().String(), Redeliver: 100 * time.Millisecond})
	srv.Config.Handler = sim
	srv.Start()
	s.t.Cleanup(func() {
		sim.Cut() // what was taken over is not the server's to close
		srv.Close()
	})
	s.write("bot", "xoxb-demo")
	s.write("app", "xapp-demo")
	s.configure(quickPoll + "people: {ann: {slack: U0ANN}, ben: {slack: U0BEN}}\nguard: {approvers: {leads: [ann]}}\nsinks:\n" +
		fmt.Sprintf("  soc: {type: slack, token: {file: bot}, app_token: {file: app}, channel: \"#soc\", interval: 0s, api_url: %q}\n", srv.URL+"/api/"))
	return &chat{s, sim}
}

// with waits for a message that has a text in its blocks.
func (c *chat) with(text string) (m sinksim.SlackMessage) {
	c.t.Helper()
	c.until(func() bool {
		all := c.sim.Messages()
		i := slices.IndexFunc(all, func(m sinksim.SlackMessage) bool { return strings.Contains(string(m.Blocks), text) })
		if i >= 0 {
			m = all[i]
		}
		return i >= 0
	})
	return m
}

// click presses, and returns what the person is told.
func (c *chat) click(user, ts, action, option string) string {
	c.t.Helper()
	before := len(c.sim.Ephemerals())
	p, err := c.sim.Press(user, ts, action, option)
	if err != nil {
		c.t.Fatal(err)
	}
	<-p.Acked
	c.until(func() bool { return len(c.sim.Ephemerals()) > before })
	last := c.sim.Ephemerals()[before]
	if last.User != user {
		c.t.Errorf("%s was told, and %s has clicked", last.User, user)
	}
	return last.Text
}

func (c *chat) told(got, want string) {
	c.t.Helper()
	if !strings.Contains(got, want) {
		c.t.Errorf("told %q, want %q in it", got, want)
	}
}

func (c *chat) heads() (n int) {
	for _, m := range c.sim.Messages() {
		if m.ThreadTS == "" {
			n++
		}
	}
	return n
}

// The life of an alert in a channel, with everything real but the two servers: asked,
// answered by whom it may be, acted on, restarted in the middle, taken back, silenced,
// resolved. All of it in one message and its thread.
func TestLifeOfAnAlertInSlack(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/note.yaml", tagsWhenAgreed)
	c := newChat(s)
	d, stop := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	question := c.with("erb.approve").TS
	c.told(c.click("U0EVE", question, "erb.approve", ""), "people: {YOUR-NAME: {slack: U0EVE}}")
	c.told(c.click("U0BEN", question, "erb.approve", ""), "ben is not among those who may decide")
	c.told(c.click("U0ANN", question, "erb.approve", ""), "Your answer is stored: you approved")
	c.with("approved by ann")
	if all, err := d.Approvals(t.Context()); err != nil || len(all) != 1 || len(all[0].Votes) != 1 || all[0].Votes[0].Via != "slack, account U0ANN, channel C000000001" {
		t.Errorf("approvals %+v, %v", all, err)
	}
	run := s.awaitEvent(d.Store(), runFinished(fmt.Sprintf("er-%d", id))).Run.ID
	c.with("erb.undo/0")
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	d, _ = s.start()
	c.until(func() bool { n, _ := c.sim.Sockets(); return n.Opened > 1 && n.Open == 1 })
	head := c.with("erb.undo/0")
	c.told(c.click("U0BEN", head.TS, "erb.undo/0", ""), "step tag: ")
	back := s.awaitEvent(d.Store(), func(ev soar.Event) bool { return ev.Outcome != nil && ev.Outcome.Of == run })
	if back.Outcome.Action != "host.untag" {
		t.Errorf("taken back by %+v", back.Outcome)
	}
	c.with("host.untag")
	c.until(func() bool { // the button goes with what it takes back
		return !strings.Contains(string(c.with("host.untag").Blocks), "erb.undo")
	})
	c.told(c.click("U0ANN", head.TS, "erb.silence/soc", "for 8 hours"), "are silent until")
	if list := d.silences.List(); len(list) != 1 || list[0].By != "ann" || list[0].Sink != "soc" || list[0].Host != "WIN-FIN-01" {
		t.Errorf("silences %+v", list)
	}
	c.told(c.click("U0ANN", head.TS, "erb.resolve.false", ""), "is being resolved as false positive")
	s.awaitEvent(d.Store(), func(ev soar.Event) bool {
		return ev.Type == soar.EventRunFinished && ev.Run.Playbook == "by-hand-alert-resolve" && ev.Run.State == soar.RunDone
	})
	i := slices.IndexFunc(s.sim.Alerts(), func(a ersim.AlertState) bool { return a.ID == id })
	if i < 0 || !strings.EqualFold(s.sim.Alerts()[i].Status, soar.StatusResolved) {
		t.Errorf("on the server: %+v", s.sim.Alerts())
	}
	if n := c.heads(); n != 1 {
		t.Errorf("%d messages for one alert", n)
	}
}

// While everything is paused, a click on resolve changes nothing, and says so.
func TestResolveFromSlackIsGuarded(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/note.yaml", "playbook: idle\non: manual\nsteps: [{do: alert.note, with: {text: x}}]\n")
	c := newChat(s)
	d, _ := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	head := c.with("erb.resolve.true").TS
	if _, err := d.Pause(t.Context(), PauseOrder{By: "ben", Reason: "drill"}); err != nil {
		t.Fatal(err)
	}
	c.told(c.click("U0ANN", head, "erb.resolve.true", ""), "It waits: everything is paused")
	c.told(c.click("U0BEN", head, "erb.resolve.false", ""), "is being resolved already, by run")
	runs, err := d.Store().Runs(t.Context(), store.RunFilter{Playbook: "by-hand-alert-resolve"})
	if err != nil || len(runs) != 1 {
		t.Errorf("runs %+v, %v: want the first alone", runs, err)
	}
	if i := slices.IndexFunc(s.sim.Alerts(), func(a ersim.AlertState) bool { return a.ID == id }); i < 0 || strings.EqualFold(s.sim.Alerts()[i].Status, soar.StatusResolved) {
		t.Errorf("on the server: %+v", s.sim.Alerts())
	}
}

// What a click is answered with is redacted like everything else that the chat gets.
func TestAnswersToClicksAreRedacted(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/note.yaml", `
playbook: tag-at-once
mode: enforce
steps:
  - {id: tag, do: host.tag, with: {host: "${{ .alert.host.identifier }}", tag: "seen-on-${{ .alert.host.name }}-secret-case"}}
`)
	s.configure(quickPoll + "redact: {fields: [alert.host.name], patterns: [secret-case]}\n")
	d, _ := s.start()
	alert := fmt.Sprintf("er-%d", s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"}))
	run := s.awaitEvent(d.Store(), runFinished(alert)).Run.ID
	desk := d.desk()
	if _, err := desk.Undo(t.Context(), run, "", "ann", "a click"); err != nil {
		t.Fatal(err)
	}
	back := s.awaitEvent(d.Store(), func(ev soar.Event) bool { return ev.Outcome != nil && ev.Outcome.Of == run })
	s.awaitEvent(d.Store(), func(ev soar.Event) bool { return ev.Type == soar.EventRunFinished && ev.Run.ID == back.Run.ID })
	if !strings.Contains(back.Outcome.Summary, "secret-case") || !strings.Contains(back.Outcome.Summary, "WIN-FIN-01") {
		t.Fatalf("there is nothing to redact in %q", back.Outcome.Summary)
	}
	words, err := desk.Undo(t.Context(), run, "", "ann", "a second click")
	if err != nil || !strings.Contains(words, "it was taken back already by run") {
		t.Fatalf("told %q, %v", words, err)
	}
	_, errExtend := desk.Extend(t.Context(), run, "secret-case of WIN-FIN-01", time.Now().Add(time.Hour), "ann", "a click")
	_, errResolve := desk.Resolve(t.Context(), alert, "secret-case WIN-FIN-01", "ann", "a click")
	if errExtend == nil || errResolve == nil {
		t.Fatalf("no refusal to look at: %v, %v", errExtend, errResolve)
	}
	for _, text := range []string{words, errExtend.Error(), errResolve.Error()} {
		if strings.Contains(text, "secret-case") || strings.Contains(text, "WIN-FIN-01") {
			t.Errorf("the chat is told %q", text)
		}
	}
}

// A question that a chat gets in answer to a click has the fields of its alert taken out, as
// the event that asked it has.
func TestQuestionsAfterClicksAreRedacted(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/ask.yaml", `
playbook: ask-first
mode: approve
steps:
  - {id: tag, do: host.tag, with: {host: "${{ .alert.host.identifier }}", tag: "seen-on-${{ .alert.host.name }}"}}
`)
	s.configure(quickPoll + "redact: {fields: [alert.host.name]}\n")
	d, _ := s.start()
	s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	id := s.awaitEvent(d.Store(), func(ev soar.Event) bool { return ev.Type == soar.EventApprovalRequested }).Approval.ID
	decided, err := d.desk().Decide(t.Context(), id, soar.Vote{By: "ann", Agree: true})
	if err != nil {
		t.Fatal(err)
	}
	looked, err := d.desk().Approval(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []soar.Approval{looked, decided} {
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "WIN-FIN-01") || len(a.Hosts) != 1 || !strings.HasPrefix(a.Hosts[0], redact.Hidden) || a.With["tag"] != "seen-on-"+redact.Hidden {
			t.Errorf("the chat is told %s", text)
		}
	}
}

// A button from before a sink was renamed silences nothing, and says so.
func TestSilenceFromSlackOfASinkThatIsGone(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/note.yaml", "playbook: idle\non: manual\nsteps: [{do: alert.note, with: {text: x}}]\n")
	c := newChat(s)
	d, _ := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	c.with("erb.silence/soc")
	<-c.sim.Forge("U0ANN", "erb.silence/before", fmt.Sprintf("1h0m0s er-%d", id)).Acked
	c.until(func() bool { return len(c.sim.Ephemerals()) > 0 })
	c.told(c.sim.Ephemerals()[0].Text, "Nothing was done: ")
	if list := d.silences.List(); len(list) != 0 {
		t.Errorf("silences %+v", list)
	}
}
