package playbooks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

const grouped = `
playbook: grouped
group: {by: [.alert.host.identifier, .alert.rule.id], window: 10m}
steps:
  - {do: fake.repeat, with: {a: "${{ .alert.id }}: ${{ .group.count }} ${{ [.alerts[].id] | join(\" \") }}"}}
`

func onHost(id, host string) soar.Alert {
	a := testAlert(id)
	a.Host.Identifier = host
	return a
}

func TestGroups(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		set := loadText(t, actions, grouped)
		_, stop := running(t, s, actions, set, EngineOptions{Evaluations: 1})
		put(t, s, onHost("1", "a"), onHost("2", "b"))
		time.Sleep(time.Minute)
		put(t, s, onHost("3", "a"))
		time.Sleep(8 * time.Minute)
		put(t, s, onHost("4", "a"))
		wantTexts(t, server)
		time.Sleep(30 * time.Second)
		stop()
		_, stop = running(t, s, actions, set, EngineOptions{Evaluations: 1}) // groups outlive a restart
		put(t, s, onHost("5", "b"))
		time.Sleep(20 * time.Second)
		wantTexts(t, server)
		time.Sleep(time.Minute)
		got := server.texts("fake.repeat")
		slices.Sort(got)
		if want := []string{"1: 3 1 3 4", "2: 2 2 5"}; !slices.Equal(got, want) {
			t.Fatalf("found %q, want %q", got, want)
		}
		put(t, s, onHost("6", "a")) // the window is over: another group
		time.Sleep(11 * time.Minute)
		stop()
		if got := server.texts("fake.repeat"); len(got) != 3 || got[2] != "6: 1 6" {
			t.Errorf("found %q", got)
		}
		runs := runsOf(t, s, "grouped")
		if stateOf(runs) != "done done done" {
			t.Errorf("runs %s", stateOf(runs))
		}
		joined, err := s.AlertByRef(t.Context(), "er-3")
		if want := "grouped: run " + runs[0].ID.String() + ", which begins at 2000-01-01T00:10:00Z"; err != nil || joined.Verdicts["grouped"] != want {
			t.Errorf("verdict %q, want %q", joined.Verdicts["grouped"], want)
		}
		if kv, err := s.KV(t.Context(), joinedPrefix); err != nil || len(kv) > 0 {
			t.Errorf("left over: %v %v", kv, err)
		}
	})
}

// A group whose window ends while nobody runs has the alerts that joined before.
func TestGroupsEndWhileStopped(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		set := loadText(t, actions, grouped)
		_, stop := running(t, s, actions, set, EngineOptions{Evaluations: 1})
		put(t, s, onHost("1", "a"), onHost("2", "a"))
		time.Sleep(time.Minute)
		stop()
		put(t, s, onHost("3", "a"))
		time.Sleep(3 * time.Hour)
		_, stop = running(t, s, actions, set, EngineOptions{Evaluations: 1})
		time.Sleep(11 * time.Minute)
		stop()
		wantTexts(t, server, "1: 2 1 2", "3: 1 3")
	})
}

// A crash at any commit of a group loses no alert and counts none twice.
func TestGroupsCrash(t *testing.T) {
	for n := 1; ; n++ {
		over := false
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d after=%v", n, after), func(t *testing.T) {
				inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
					set := loadText(t, actions, grouped)
					commits, dead := 0, false
					die := func(soar.Change) bool {
						commits++
						dead = dead || commits == n
						return dead
					}
					_, stop := running(t, &commitsUntil{Store: s, die: die, after: after}, actions, set, EngineOptions{Evaluations: 1, Drain: time.Second})
					for _, id := range []string{"1", "2", "3"} {
						put(t, s, onHost(id, "a"))
						time.Sleep(time.Minute)
					}
					time.Sleep(10 * time.Minute)
					stop()
					over = over || commits < n
					_, stop = running(t, s, actions, set, EngineOptions{Evaluations: 1})
					time.Sleep(time.Hour)
					stop()
					// Alerts that were left pending join the group they find, or open another.
					var seen []string
					texts := server.texts("fake.repeat")
					slices.Sort(texts)
					for _, text := range slices.Compact(texts) { // a call whose answer was lost may be repeated
						_, list, _ := strings.Cut(text, ": ")
						seen = append(seen, strings.Fields(list)[1:]...)
					}
					slices.Sort(seen)
					if !slices.Equal(seen, []string{"1", "2", "3"}) {
						t.Errorf("the runs saw %v", seen)
					}
				})
			})
		}
		if over {
			return
		}
	}
}

func TestGroupMistakes(t *testing.T) {
	actions := newFakeServer().actions()
	for _, tt := range []struct{ name, text, want string }{
		{"no alerts", "on: {schedule: {every: 1h}}\ngroup: {by: .alert.host.name, window: 1m}", "group needs alerts"},
		{"too long", "group: {by: .alert.host.name, window: 25h}", "between 1s and 24h"},
		{"no key", "group: {by: [], window: 1m}", "expected one or several jq expressions"},
		{"without a window", "group: {by: .alert.id}", "window"},
		{"what only the steps see", "match: {all: [{many: .group.count > 3}]}\ngroup: {by: .alert.id, window: 1m}", "there is no .group here"},
	} {
		_, problems := Parse("p.yaml", []byte("playbook: p\n"+tt.text+"\nsteps: [{do: fake.repeat}]\n"), actions)
		if len(problems) != 1 || !strings.Contains(problems[0].Message, tt.want) {
			t.Errorf("%s: %v", tt.name, problems)
		}
	}
}

// A clock that is put back while erbridge is stopped opens no window again.
func TestGroupsAndClockPutBack(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		set := loadText(t, actions, `
playbook: p
group: {by: .alert.host.identifier, window: 10m}
steps: [{do: fake.repeat, with: {a: "${{ [.alerts[].id] | join(\" \") }}"}}]
`)
		put(t, s, testAlert("1"))
		_, stop := running(t, s, actions, set, EngineOptions{Now: func() time.Time { return time.Now().Add(5 * time.Minute) }})
		time.Sleep(10*time.Minute + time.Second)
		stop()
		wantTexts(t, server, "1")

		put(t, s, testAlert("2"))
		_, stop = running(t, s, actions, set, EngineOptions{})
		time.Sleep(5 * time.Minute)
		stop()
		put(t, s, testAlert("3")) // the group of 2 is open, and stays so over a restart
		_, stop = running(t, s, actions, set, EngineOptions{})
		time.Sleep(10 * time.Minute)
		stop()
		wantTexts(t, server, "1", "2 3")
	})
}
