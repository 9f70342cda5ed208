package connector

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// mirrored is a poller with a simulated server, and an analyst who works there.
type mirrored struct {
	*testing.T
	sim     *ersim.Server
	client  *Client // erbridge's own
	analyst *Client
	in      *intake
	p       *Poller
	now     time.Time // of the poller
}

// mirrorOf raises n alerts of before the sweeps' window, has them polled, and lets the
// mirror find its bearings.
func mirrorOf(t *testing.T, profile string, n int, change func(*PollSettings)) (*mirrored, []int64) {
	t.Helper()
	sim, client := startSim(t, ersim.Options{Profile: profile})
	m := &mirrored{T: t, sim: sim, client: client, in: newIntake(), now: time.Now()}
	m.analyst = m.user("jane", "admin")
	m.in.commits = make(chan struct{}, 100_000)
	m.restart(change)
	poll(t, m.p, 0)
	var ids []int64
	for i := range n {
		ids = append(ids, sim.Raise(ersim.AlertSpec{Rule: fmt.Sprint(i), Severity: "HIGH", CreatedAt: time.Now().Add(-3 * time.Hour), Separate: true, Detached: true}))
	}
	poll(t, m.p, n)
	m.look()
	m.sweep()
	return m, ids
}

// restart makes a new poller that knows only what the old one stored.
func (m *mirrored) restart(change func(*PollSettings)) {
	m.Helper()
	settings := DefaultPoll()
	settings.Backfill = 0
	if change != nil {
		change(&settings)
	}
	p, err := NewPoller(m.client, "er", settings, SourceEnv{Intake: m.in, Now: func() time.Time { return m.now }})
	if err != nil {
		m.Fatal(err)
	}
	m.p = p
}

// user makes another client, of an account of its own where the release has accounts.
func (m *mirrored) user(name, role string) *Client {
	m.Helper()
	o := m.client.o
	if _, err := m.client.Users.Me(m.Context()); err == nil {
		const password = "Correct-Horse-1"
		err := m.client.Users.Create(m.Context(), NewUser{Username: name, FirstName: name, Email: name + "@example.com", Password: soar.SecretValue(password), Role: role})
		if err != nil {
			m.Fatal(err)
		}
		o.Username, o.Password = name, soar.SecretValue(password)
	}
	c, err := New(o)
	if err != nil {
		m.Fatal(err)
	}
	return c
}

func (m *mirrored) look() {
	m.Helper()
	if err := m.p.Mirror(m.Context()); err != nil {
		m.Fatal(err)
	}
}

func (m *mirrored) sweep() {
	m.Helper()
	if err := m.p.Sweep(m.Context()); err != nil {
		m.Fatal(err)
	}
}

func (m *mirrored) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// told are the changes of an alert that were stored: origin, user, run.
func (m *mirrored) told(id int64) (all []string) {
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	for _, hand := range m.in.hands["er-"+strconv.FormatInt(id, 10)] {
		all = append(all, strings.TrimRight(fmt.Sprintf("%s %s %s", hand.Origin, hand.By, hand.Run), " "))
	}
	return all
}

func (m *mirrored) expect(id int64, want ...string) {
	m.Helper()
	if got := m.told(id); !slices.Equal(got, want) {
		m.Errorf("alert %d: told %q, want %q", id, got, want)
	}
}

// intend is what the engine commits before erbridge changes an alert itself.
func (m *mirrored) intend(id int64, status, verdict string) soar.OwnChange {
	m.Helper()
	run := soar.NewRunID(m.now).String()
	own := soar.OwnChange{
		Server: "er", ID: strconv.FormatInt(id, 10), Run: run, Mark: "erbridge-" + run + "-step", Status: status, Verdict: verdict, At: m.now,
	}
	if _, err := m.in.Commit(m.Context(), soar.Change{KV: []soar.KV{own.KV()}}); err != nil {
		m.Fatal(err)
	}
	return own
}

// remembered are the own changes that were not seen yet.
func (m *mirrored) remembered() int {
	kvs, _ := m.in.KV(context.Background(), soar.OwnChangePrefix)
	return len(kvs)
}

// during counts the calls that something costs.
func (m *mirrored) during(do func()) map[string]int {
	before := m.sim.Calls()
	do()
	cost := m.sim.Calls()
	maps.DeleteFunc(cost, func(call string, n int) bool { return n == before[call] })
	for call := range cost {
		cost[call] -= before[call]
	}
	return cost
}

func TestMirrorTellsWhatAnalystsDo(t *testing.T) {
	for _, tt := range []struct{ profile, by string }{{"4.0", "analyst jane"}, {"4.0-community", "analyst jane"}, {"2.1.2", "analyst"}} {
		t.Run(tt.profile, func(t *testing.T) {
			m, ids := mirrorOf(t, tt.profile, 3, nil)
			// Release 2.1.2 has no log of what users did: there, the sweep finds it.
			see := func() { m.look(); m.sweep() }

			m.must(m.analyst.Alerts.Resolve(t.Context(), ids[:2], false, "weekly scan"))
			see()
			m.expect(ids[0], tt.by)
			if a := m.in.alert(t, fmt.Sprintf("er-%d", ids[0])); a.Status != soar.StatusResolved ||
				tt.profile != "2.1.2" && (a.Verdict != soar.VerdictFalsePositive || a.Comment != "weekly scan") {
				t.Errorf("stored as %s %s %q", a.Status, a.Verdict, a.Comment)
			}
			m.must(m.analyst.Alerts.Reopen(t.Context(), ids[:1]))
			see()
			m.expect(ids[0], tt.by, tt.by)
			if tt.profile != "2.1.2" { // which keeps no verdict
				m.must(m.analyst.Alerts.Resolve(t.Context(), ids[1:2], true, "it was none"))
				see()
				m.expect(ids[1], tt.by, tt.by)
			}
			see() // nothing is told twice
			m.restart(nil)
			see()
			m.expect(ids[2])
			if n := len(m.told(ids[0])); n != 2 {
				t.Errorf("%d changes after a restart, want 2", n)
			}
		})
	}
}

func TestMirrorKnowsItsOwnChangesAgain(t *testing.T) {
	for _, profile := range []string{"4.0", "2.1.2"} {
		t.Run(profile, func(t *testing.T) {
			m, ids := mirrorOf(t, profile, 4, nil)
			resolve := func(id int64) soar.OwnChange {
				own := m.intend(id, soar.StatusResolved, soar.VerdictTruePositive)
				m.must(m.client.Alerts.Resolve(t.Context(), []int64{id}, true, soar.WithOwnLine("contained", own.Mark)))
				return own
			}
			// The sweep comes upon it before the step has ended, or after a crash: all that
			// there is then is the intent.
			first := resolve(ids[0])
			m.sweep()
			m.look()
			m.expect(ids[0], "erbridge  "+first.Run)
			if n := m.remembered(); n != 0 {
				t.Errorf("%d own changes are still looked for", n)
			}
			// An analyst reopens it: that is not ours, nor is resolving it again.
			m.must(m.analyst.Alerts.Reopen(t.Context(), ids[:1]))
			m.look()
			m.sweep()
			m.must(m.analyst.Alerts.Resolve(t.Context(), ids[:1], true, "contained"))
			m.look()
			m.sweep()
			by := map[string]string{"4.0": "analyst jane", "2.1.2": "analyst"}[profile]
			if got := m.told(ids[0]); len(got) != 3 || got[1] != by || got[2] != by {
				t.Errorf("told %q, want two changes of %s after ours", got, by)
			}
			// We reopen one that an analyst resolved.
			m.must(m.analyst.Alerts.Resolve(t.Context(), ids[1:2], true, ""))
			m.look()
			m.sweep()
			m.intend(ids[1], soar.StatusOpen, "")
			m.must(m.client.Alerts.Reopen(t.Context(), ids[1:2]))
			m.look()
			m.sweep()
			if got := m.told(ids[1]); len(got) != 2 || got[0] != by || !strings.HasPrefix(got[1], "erbridge") {
				t.Errorf("told %q, want ours to be known", got)
			}
		})
	}
}

// A call whose answer was lost and that never arrived leaves an intent behind. An analyst
// who does the same a quarter of an hour later is not taken for erbridge.
func TestMirrorForgetsOwnChangesThatDidNotComeAbout(t *testing.T) {
	m, ids := mirrorOf(t, "2.1.2", 1, nil)
	m.intend(ids[0], soar.StatusResolved, soar.VerdictTruePositive)
	m.look()
	if m.remembered() != 1 {
		t.Fatal("forgotten while the call may still arrive")
	}
	m.now = m.now.Add(ownPatience + time.Second)
	m.look()
	if m.remembered() != 0 {
		t.Error("still looked for")
	}
	m.must(m.analyst.Alerts.Resolve(t.Context(), ids, true, ""))
	m.sweep()
	m.expect(ids[0], "analyst")
}

// Another erbridge on the same server is known by the line in its comments, by the
// account that both use, or by its account where that is named in the configuration.
func TestMirrorKnowsAnotherErbridge(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 3, func(s *PollSettings) { s.Mirror.Accounts = []string{"Other-Bridge"} })
	run := soar.NewRunID(time.Now()).String()
	other, nosy := m.user("other-bridge", "admin"), m.user("nosy", "admin")
	m.must(other.Alerts.Resolve(t.Context(), ids[:1], true, soar.WithOwnLine("by another one", "erbridge-"+run+"-x")))
	m.must(nosy.Alerts.Resolve(t.Context(), ids[1:2], true, soar.WithOwnLine("not named", "erbridge-"+run+"-x")))
	m.must(m.client.Alerts.Resolve(t.Context(), ids[2:3], true, "by hand with our account"))
	m.look()
	m.expect(ids[0], "erbridge other-bridge "+run)
	m.expect(ids[1], "erbridge nosy "+run)
	m.expect(ids[2], "analyst soc")
	m.must(other.Alerts.Reopen(t.Context(), ids[:1]))
	m.must(nosy.Alerts.Reopen(t.Context(), ids[1:2]))
	m.must(m.client.Alerts.Reopen(t.Context(), ids[2:3]))
	m.look()
	m.expect(ids[0], "erbridge other-bridge "+run, "erbridge other-bridge")
	m.expect(ids[1], "erbridge nosy "+run, "analyst nosy")
	m.expect(ids[2], "analyst soc", "erbridge soc")
}

// An account that is no admin cannot read the log; who it was comes from the alert then,
// with a call for each that has changed.
func TestMirrorWithoutTheLog(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 40, nil)
	m.client = m.user("plain", "analyst")
	m.restart(nil)
	m.look()
	m.sweep()
	m.must(m.analyst.Alerts.Resolve(t.Context(), ids[:3], true, "seen"))
	cost := m.during(m.sweep)
	m.expect(ids[0], "analyst jane")
	if cost["alerts-get"] != 3 || cost["users-activity"] != 0 {
		t.Errorf("it cost %v, want one look at each of the three alerts that changed", cost)
	}
	if cost := m.during(m.look); cost["users-activity"] != 0 {
		t.Errorf("the log is asked for again at once: %v", cost)
	}
	m.now = m.now.Add(unavailableFor + time.Second)
	if cost := m.during(m.look); cost["users-activity"] != 1 {
		t.Errorf("the log is not asked for any more: %v", cost)
	}
}

// What a look and a sweep cost grows with pages and changes, not with open alerts.
func TestMirrorNeedsNoCallForEachOpenAlert(t *testing.T) {
	const open = 5000
	for _, profile := range []string{"4.0", "2.1.2"} {
		t.Run(profile, func(t *testing.T) {
			m, ids := mirrorOf(t, profile, open, nil)
			total := func(cost map[string]int) (n int) {
				for _, calls := range cost {
					n += calls
				}
				return n
			}
			if cost := m.during(m.look); total(cost) > 1 {
				t.Errorf("a look at a server where nothing happened cost %v", cost)
			}
			const pages = open/openChecked + 4 // those of the question, and of the window
			whole := m.during(func() { m.p.lookAtAll(); m.sweep() })
			if total(whole) > pages {
				t.Errorf("a sweep over everything cost %v, want at most %d calls", whole, pages)
			}
			if profile == "4.0" {
				if cost := m.during(m.sweep); total(cost) > 4 {
					t.Errorf("a sweep beside the log cost %v", cost)
				}
			}
			m.must(m.analyst.Alerts.Resolve(t.Context(), ids[:3], true, ""))
			changed := total(m.during(func() { m.look(); m.sweep() }))
			if changed > pages+2*3 {
				t.Errorf("three changes cost %d calls", changed)
			}
			m.expect(ids[0], map[string]string{"4.0": "analyst jane", "2.1.2": "analyst"}[profile])
		})
	}
}

// notesTold are the changes of notes that were told.
func (m *mirrored) notesTold() (all []string) {
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	for _, n := range m.in.noted {
		all = append(all, fmt.Sprintf("%s %s %q", n.Change.What[0], n.Change.Origin, n.Change.Notes[0].Text))
	}
	m.in.noted = nil
	return all
}

func (m *mirrored) expectNotes(want ...string) {
	m.Helper()
	m.look()
	if got := m.notesTold(); !slices.Equal(got, want) {
		m.Errorf("told %q, want %q", got, want)
	}
}

func TestMirrorTellsNotes(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 2, nil)
	ref := fmt.Sprintf("er-%d", ids[0])
	m.in.worked = []string{ref}
	note := func(by *Client, text string) int64 {
		id, err := by.Alerts.AddNote(t.Context(), ids[0], text)
		m.must(err)
		return id
	}
	run := soar.NewRunID(time.Now()).String()
	theirs := note(m.analyst, "it was bob")
	ours := note(m.client, "contained\n\n"+soar.OwnLine("erbridge-"+run+"-note"))
	note(m.analyst, "> contained\n> "+soar.OwnLine("erbridge-"+run+"-note")+"\nthank you")
	m.expectNotes(`note.added analyst "it was bob"`,
		fmt.Sprintf("note.added erbridge %q", "contained\n\n"+soar.OwnLine("erbridge-"+run+"-note")),
		fmt.Sprintf("note.added analyst %q", "> contained\n> "+soar.OwnLine("erbridge-"+run+"-note")+"\nthank you"))
	m.expectNotes()
	m.restart(nil)
	m.expectNotes()

	m.must(m.analyst.Alerts.UpdateNote(t.Context(), ids[0], theirs, "it was alice"))
	m.must(m.client.Alerts.UpdateNote(t.Context(), ids[0], ours, "released")) // by alert.note_edit, which leaves no line
	m.expectNotes(`note.edited analyst "it was alice"`, `note.edited erbridge "released"`)
	m.must(m.analyst.Alerts.DeleteNote(t.Context(), ids[0], theirs, DeleteForGood))
	m.must(m.client.Alerts.DeleteNote(t.Context(), ids[0], ours, DeleteForGood))
	m.expectNotes(`note.removed analyst ""`, `note.removed erbridge ""`)

	// Nobody works on the other alert: its notes are not read until an analyst changes it.
	_, err := m.analyst.Alerts.AddNote(t.Context(), ids[1], "and now?")
	m.must(err)
	m.expectNotes()
	m.must(m.analyst.Alerts.Resolve(t.Context(), ids[1:], true, ""))
	m.expectNotes(`note.added analyst "and now?"`)
}

// A commit that fails tells nothing, and the next look tells it.
func TestMirrorLosesNoNoteWhenTheStoreFails(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 1, nil)
	m.in.worked = []string{fmt.Sprintf("er-%d", ids[0])}
	_, err := m.analyst.Alerts.AddNote(t.Context(), ids[0], "look at this")
	m.must(err)
	m.must(m.analyst.Alerts.Resolve(t.Context(), ids, true, ""))
	m.in.mu.Lock()
	m.in.refuse = soar.ErrTooLarge
	m.in.mu.Unlock()
	if err := m.p.Mirror(t.Context()); err == nil {
		t.Error("nothing was stored, and nobody is told")
	}
	m.in.mu.Lock()
	m.in.refuse = nil
	m.in.mu.Unlock()
	m.expectNotes(`note.added analyst "look at this"`)
	m.expect(ids[0], "analyst jane")
}

func TestMirrorReadsFewNotesAtATime(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 9, func(s *PollSettings) { s.Mirror.Notes = 3 })
	for _, id := range ids {
		m.in.worked = append(m.in.worked, fmt.Sprintf("er-%d", id))
		_, err := m.analyst.Alerts.AddNote(t.Context(), id, fmt.Sprint(id))
		m.must(err)
	}
	seen := 0
	for range 3 {
		m.now = m.now.Add(time.Minute)
		if cost := m.during(m.look); cost["alerts-notes-list"] != 3 {
			t.Errorf("a look cost %v, want three reads of notes", cost)
		}
		seen += len(m.notesTold())
	}
	if seen != len(ids) {
		t.Errorf("%d notes after three looks, want %d: they go in turn", seen, len(ids))
	}
}

func TestMirrorWithoutNotesOnCommunity(t *testing.T) {
	m, ids := mirrorOf(t, "4.0-community", 2, nil)
	m.in.worked = []string{fmt.Sprintf("er-%d", ids[0]), fmt.Sprintf("er-%d", ids[1])}
	m.look()
	if cost := m.during(m.look); cost["alerts-notes-list"] != 0 {
		t.Errorf("the Community Edition has no notes, and was asked again: %v", cost)
	}
}

// What was there before erbridge is not told as news.
func TestMirrorTellsNoNotesOfBefore(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 1, func(s *PollSettings) { s.Mirror.NotesFor = time.Hour })
	m.in.worked = []string{fmt.Sprintf("er-%d", ids[0])}
	_, err := m.analyst.Alerts.AddNote(t.Context(), ids[0], "old")
	m.must(err)
	m.now = m.now.Add(2 * time.Hour)
	m.expectNotes()
	_, err = m.analyst.Alerts.AddNote(t.Context(), ids[0], "new")
	m.must(err)
	m.expectNotes(`note.added analyst "new"`)
}

// What retention has forgotten does not come back because somebody resolves it.
func TestMirrorLeavesForgottenAlertsAlone(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 2, nil)
	ref := fmt.Sprintf("er-%d", ids[0])
	m.in.mu.Lock()
	delete(m.in.alerts, ref)
	m.in.mu.Unlock()
	m.must(m.analyst.Alerts.Resolve(t.Context(), ids, true, ""))
	m.look()
	if _, err := m.in.AlertByRef(t.Context(), ref); err == nil {
		t.Error("it was taken in again")
	}
	m.expect(ids[1], "analyst jane")
}

func TestMirrorOff(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 2, nil)
	m.restart(func(s *PollSettings) { s.Mirror = MirrorSettings{} })
	m.must(m.analyst.Alerts.Resolve(t.Context(), ids[:1], true, ""))
	cost := m.during(m.sweep)
	if cost["users-activity"]+cost["alerts-notes-list"] != 0 {
		t.Errorf("it is off, and cost %v", cost)
	}
	m.expect(ids[0], "analyst jane") // sweeps ask about open alerts anyway
}
