package playbooks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

const bruteForce = `
playbook: brute-force
count: {by: [.alert.host.identifier, .alert.rule.id], window: 10m}
match:
  all:
    - the rule is that of shadow copies: .alert.rule.id == 3
    - there are three or more: .count >= 3
steps:
  - {do: fake.repeat, with: {a: "${{ .alert.id }} ${{ .count }}"}}
`

func createdAt(id, host string, at time.Time) soar.Alert {
	a := onHost(id, host)
	a.CreatedAt = at
	return a
}

func TestCount(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		set := loadText(t, actions, bruteForce)
		_, stop := running(t, s, actions, set, EngineOptions{Evaluations: 1})
		at := time.Now()
		minute := func(n int) time.Time { return at.Add(time.Duration(n) * time.Minute) }
		put(t, s, createdAt("1", "a", minute(0)), createdAt("2", "b", minute(1)), createdAt("3", "a", minute(5)))
		time.Sleep(time.Second)
		wantTexts(t, server)
		put(t, s, createdAt("4", "a", minute(9)), createdAt("5", "b", minute(9)))
		time.Sleep(time.Second)
		wantTexts(t, server, "4 3")
		stop()
		_, stop = running(t, s, actions, set, EngineOptions{Evaluations: 1})
		put(t, s, createdAt("6", "a", minute(10))) // 1 was ten minutes earlier, and counts no longer
		time.Sleep(time.Second)
		put(t, s, createdAt("7", "a", minute(4))) // late, but taken in after those that it counts
		time.Sleep(time.Second)
		put(t, s, createdAt("8", "a", minute(60)))
		time.Sleep(time.Second)
		stop()
		wantTexts(t, server, "4 3", "6 3", "7 5")
	})
}

// What the engine found while alerts came in is found again when one looks later.
func TestCountIsTheSameLater(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		set := loadText(t, actions, bruteForce)
		_, stop := running(t, s, actions, set, EngineOptions{})
		at, random := time.Now(), rand.New(rand.NewPCG(1, 2))
		const alerts = 300
		for i := 0; i < alerts; {
			var batch []soar.Alert
			for range 1 + random.IntN(20) {
				minute := time.Duration(i+random.IntN(40)) * time.Minute / 2
				batch = append(batch, createdAt(fmt.Sprint(i), string(rune('a'+random.IntN(3))), at.Add(minute)))
				i++
			}
			put(t, s, batch...)
			time.Sleep(time.Second)
		}
		stop()
		live := server.texts("fake.repeat")
		stored, err := s.Alerts(t.Context(), store.AlertFilter{})
		if err != nil {
			t.Fatal(err)
		}
		var later []string
		for i, a := range stored {
			x, err := ExplainWith(t.Context(), set.Get("brute-force"), a.Alert, ExplainOptions{History: s})
			if err != nil {
				t.Fatal(err)
			}
			if (x.Verdict == Match) != (a.Verdicts["brute-force"] == "match") {
				t.Errorf("alert %s: %s, and live %q", a.Alert.ID, x.Verdict, a.Verdicts["brute-force"])
			}
			if want := countByHand(stored, i); x.Verdict == Match {
				later = append(later, fmt.Sprintf("%s %d", a.Alert.ID, want))
			} else if want >= 3 {
				t.Errorf("alert %s: %s, and there are %d", a.Alert.ID, x.Verdict, want)
			}
		}
		slices.Sort(live)
		slices.Sort(later)
		if len(live) < alerts/10 || !slices.Equal(live, later) {
			t.Errorf("live\n%q\nlater\n%q", live, later)
		}
	})
}

func countByHand(stored []soar.StoredAlert, i int) (n int) {
	mine := &stored[i]
	for _, a := range stored {
		if a.Key <= mine.Key && a.Alert.Host.Identifier == mine.Alert.Host.Identifier && a.Alert.CreatedAt.Sub(mine.Alert.CreatedAt).Abs() < 10*time.Minute {
			n++
		}
	}
	return n
}

func TestCountWithoutAlerts(t *testing.T) {
	actions := newFakeServer().actions()
	set := loadText(t, actions, bruteForce)
	x, err := Explain(t.Context(), set.Get("brute-force"), testAlert("1"), actions)
	if err != nil || x.Verdict != Unknown || !strings.HasSuffix(x.Error, ": like alerts can be counted only where alerts are stored") {
		t.Errorf("verdict %s, %s, %v", x.Verdict, x.Error, err)
	}
	// One that is not stored counts itself, and all that is stored.
	inBubble(t, func(t *testing.T, s *store.Store, _ *fakeServer, _ map[string]Action) {
		put(t, s, testAlert("1"), testAlert("2"))
		n, err := (&counter{history: s}).count(t.Context(), set.Get("brute-force").count, alertAt("3"), plainOf(t, alertAt("3")))
		if err != nil || n != 3 {
			t.Errorf("counted %d, %v", n, err)
		}
	})
}

func alertAt(id string) *soar.Alert {
	a := testAlert(id)
	return &a
}

func plainOf(t *testing.T, a *soar.Alert) map[string]any {
	t.Helper()
	plain, err := plainAlert(a)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// An index that was cut short is read anew.
func TestCountCutShort(t *testing.T) {
	set := loadText(t, newFakeServer().actions(), bruteForce)
	inBubble(t, func(t *testing.T, s *store.Store, _ *fakeServer, _ map[string]Action) {
		put(t, s, testAlert("1"), testAlert("2"))
		c, rule := &counter{history: s}, set.Get("brute-force").count
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.count(ended, rule, alertAt("2"), plainOf(t, alertAt("2"))); err == nil {
			t.Error("no error of a context that has ended")
		}
		if n, err := c.count(t.Context(), rule, alertAt("2"), plainOf(t, alertAt("2"))); err != nil || n != 2 {
			t.Errorf("counted %d, %v", n, err)
		}
	})
}

func TestCountMistakes(t *testing.T) {
	actions := newFakeServer().actions()
	for _, tt := range []struct{ name, text, want string }{
		{"no rule", "match: {all: [{many: .count > 3}]}", "there is no .count here"},
		{"too long", "count: {by: .alert.host.name, window: 8d}", "between 1s and 7d"},
		{"what changes", "count: {by: .alert.status, window: 1m}", "count.by must say what an alert is, and .alert.status changes"},
		{"all of it", "count: {by: .alert, window: 1m}", "count.by must say what an alert is, and .alert as a whole changes"},
		{"the host record", "count: {by: .host.name, window: 1m}", "there is no .host here"},
		{"the name is taken", "enrich: {count: {do: fake.read}}\ncount: {by: .alert.id, window: 1m}", "no enrichment may have the name count"},
	} {
		_, problems := Parse("p.yaml", []byte("playbook: p\n"+tt.text+"\nsteps: [{do: fake.repeat}]\n"), actions)
		if len(problems) == 0 || !strings.Contains(problems[0].Message, tt.want) {
			t.Errorf("%s: %v", tt.name, problems)
		}
	}
}

func TestCountInABacktest(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		set := loadText(t, actions, bruteForce)
		_, stop := running(t, s, actions, set, EngineOptions{Evaluations: 1})
		for i := range 50 {
			put(t, s, createdAt(fmt.Sprint(i), string(rune('a'+i%3)), time.Now()))
			time.Sleep(time.Duration(i%4) * time.Minute)
		}
		stop()
		b, err := NewBacktest(set, BacktestOptions{Actions: actions, History: s})
		if err != nil {
			t.Fatal(err)
		}
		b.CompareWithLive()
		stored, err := s.Alerts(t.Context(), store.AlertFilter{})
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(stored)
		for i := range stored {
			if err := b.Add(t.Context(), &stored[i]); err != nil {
				t.Fatal(err)
			}
		}
		live := len(server.texts("fake.repeat"))
		if got := b.Report().Results[0]; got.Matched != live || live == 0 || got.Errors != 0 || got.Unknown != 0 || got.NewlyMatching != nil || got.NoLongerMatching != nil {
			t.Errorf("%d runs live, and the backtest %+v", live, got)
		}
	})
}

// history is alerts that were created at its times, one after the other, and counts
// how many of them are read.
type history struct {
	times []time.Time
	read  int
}

func (h *history) AlertByRef(_ context.Context, _ string) (soar.StoredAlert, error) {
	return soar.StoredAlert{}, soar.ErrNotFound
}

func (h *history) AlertsCreated(_ context.Context, since time.Time, after int64, _ int) (page []soar.StoredAlert, err error) {
	for i := after; i < int64(len(h.times)); i++ {
		if !h.times[i].Before(since) {
			page = append(page, soar.StoredAlert{Key: i + 1, Alert: createdAt(fmt.Sprint(i), "a", h.times[i])})
		}
	}
	h.read += len(page)
	return page, nil
}

// However many alerts there are, in whatever order, each is read a few times at most;
// those too old to be counted are forgotten; and the count is right all the while.
func TestCountForgets(t *testing.T) {
	actions := newFakeServer().actions()
	rule := loadText(t, actions, bruteForce).Get("brute-force").count
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		step func(i int) time.Duration // from the alert before it
		most int
	}{
		{"in order", func(int) time.Duration { return time.Minute / 4 }, 100},
		{"many in the window", func(int) time.Duration { return time.Second }, 10},
		{"out of order", func(i int) time.Duration { return time.Minute/4 + time.Duration(i%2*4-2)*time.Minute }, 100},
		{"backwards", func(int) time.Duration { return -time.Minute / 4 }, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, now := &history{}, at
			index := &countIndex{most: tt.most}
			c := &counter{history: h, rules: map[string]*countIndex{rule.text: index}}
			largest := 0
			for i := range 2000 {
				now = now.Add(tt.step(i))
				want := 1
				for _, other := range h.times {
					if other.Sub(now).Abs() < rule.window {
						want++
					}
				}
				a := createdAt("next", "a", now)
				plain, err := plainAlert(&a)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := c.count(t.Context(), rule, &a, plain); got != want || err != nil {
					t.Fatalf("alert %d: %d, %v, want %d", i, got, err, want)
				}
				h.times = append(h.times, now)
				largest = max(largest, index.size)
			}
			if h.read > 20*len(h.times) {
				t.Errorf("%d alerts read for %d", h.read, len(h.times))
			}
			if tt.name == "in order" && largest > tt.most+10 {
				t.Errorf("%d kept in mind", largest)
			}
		})
	}
	set := NewSet()
	c := &counter{rules: map[string]*countIndex{rule.text: {}}}
	if c.retain(set); len(c.rules) != 0 {
		t.Error("a rule that no playbook has is kept in mind")
	}
}
