package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func testAlerts(t *testing.T, open Opener) {
	t.Run("an alert comes back as it was", func(t *testing.T) {
		b := open(t, store.Options{Now: func() time.Time { return epoch.Add(time.Hour) }})
		online := true
		a := alert("er", "17")
		a.Rule = &soar.Rule{ID: 1, Name: "Credential dumping", Techniques: []string{"T1003"}, Tactics: []string{"credential-access"}}
		a.Host = soar.Host{ID: 4, Identifier: "4C4C", Name: "WIN", Tags: []string{"a", "b"}, Online: &online, LastSeen: epoch}
		a.Intel = json.RawMessage(`{"positives":61}`)
		a.Backfill = true
		a.Event["note"] = "ünï \u0000 \"<script>\" '; DROP TABLE alert; --" + strings.Repeat("x", 5000)
		commit(t, b, soar.Change{Alerts: []soar.Alert{a}})
		got := must(b.AlertByRef(t.Context(), "er-17"))(t)
		want := soar.StoredAlert{Key: got.Key, Alert: a, ReceivedAt: epoch.Add(time.Hour), Pending: "alert"}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("AlertByRef\n got %+v\nwant %+v", got, want)
		}
		if byKey := must(b.AlertByKey(t.Context(), got.Key))(t); !reflect.DeepEqual(byKey, want) {
			t.Errorf("AlertByKey\n got %+v\nwant %+v", byKey, want)
		}
	})

	t.Run("what is not there", func(t *testing.T) {
		b := open(t, store.Options{})
		if _, err := b.AlertByKey(t.Context(), 1); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("AlertByKey: %v", err)
		}
		for _, ref := range []string{"", "-", "er", "er-1", "-1", "er-"} {
			if _, err := b.AlertByRef(t.Context(), ref); !errors.Is(err, soar.ErrNotFound) {
				t.Errorf("AlertByRef(%q): %v", ref, err)
			}
		}
	})

	t.Run("new, updated, known", func(t *testing.T) {
		for _, tt := range []struct {
			name    string
			change  func(a *soar.Alert)
			updated bool
		}{
			{"nothing", func(*soar.Alert) {}, false},
			{"status", func(a *soar.Alert) { a.Status = soar.StatusResolved }, true},
			{"verdict", func(a *soar.Alert) { a.Verdict = soar.VerdictFalsePositive }, true},
			{"event count", func(a *soar.Alert) { a.EventCount = 2 }, true},
			{"only the comment", func(a *soar.Alert) { a.Comment = "seen" }, true},
			{"only the host", func(a *soar.Alert) { a.Host.IP = "10.0.0.1" }, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				b := open(t, store.Options{})
				a := alert("er", "1")
				if got := commit(t, b, soar.Change{Alerts: []soar.Alert{a}}); !slices.Equal(got.New, []int{0}) || got.Updated != nil || got.Known != 0 {
					t.Fatalf("first time: %+v", got)
				}
				again := alert("er", "1")
				tt.change(&again)
				got := commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "2"), again}})
				want := soar.Committed{New: []int{0}, Known: 1}
				events := []string{"alert.received/er-1", "alert.received/er-2"}
				if tt.updated {
					want = soar.Committed{New: []int{0}, Updated: []int{1}}
					events = append(events, "alert.updated/er-1/")
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("second time: %+v, want %+v", got, want)
				}
				ids := names(must(b.Feed(t.Context(), 0, 10))(t), func(ev soar.Event) string { return ev.ID })
				for i := range ids {
					if i < len(events) && strings.HasSuffix(events[i], "/") && strings.HasPrefix(ids[i], events[i]) {
						ids[i] = events[i]
					}
				}
				if !slices.Equal(ids, events) {
					t.Errorf("feed %q, want %q", ids, events)
				}
				if got := must(b.AlertByRef(t.Context(), "er-1"))(t).Alert; tt.updated != (got.State() != a.State()) {
					t.Errorf("stored copy: %+v", got)
				}
			})
		}
	})

	t.Run("the same alert twice in one change", func(t *testing.T) {
		b := open(t, store.Options{})
		resolved := alert("er", "1")
		resolved.Status = soar.StatusResolved
		got := commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "1"), alert("er", "1"), resolved}})
		if want := (soar.Committed{New: []int{0}, Updated: []int{2}, Known: 1}); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got := must(b.AlertByRef(t.Context(), "er-1"))(t).Alert.Status; got != soar.StatusResolved {
			t.Errorf("status %q", got)
		}
	})

	t.Run("ids that look alike are different alerts", func(t *testing.T) {
		b := open(t, store.Options{})
		alerts := []soar.Alert{
			alert("er", "7"), alert("er", "007"), alert("er", "+7"), alert("er", "7 "), alert("er", "7.0"), alert("ER", "7"), alert("er2", "7"),
			alert("a-b", "c"), alert("a", "b-c"), alert("er", "9223372036854775808"), alert("er", "x"), alert("er", "X"), alert("er", "é"), alert("er", "e\u0301"),
		}
		if got := commit(t, b, soar.Change{Alerts: alerts}); len(got.New) != len(alerts) {
			t.Errorf("new: %v of %d", got.New, len(alerts))
		}
		if got := commit(t, b, soar.Change{Alerts: alerts}); got.Known != len(alerts) {
			t.Errorf("second time: %+v", got)
		}
		for _, a := range alerts {
			got, err := b.AlertByRef(t.Context(), a.Ref())
			if err != nil || got.Alert.Ref() != a.Ref() {
				t.Errorf("AlertByRef(%q): %q, %v", a.Ref(), got.Alert.Ref(), err)
			}
		}
	})

	t.Run("an update does not erase what is known", func(t *testing.T) {
		var clock clock
		b := open(t, store.Options{Now: clock.now})
		rich := alert("er", "1")
		rich.Backfill = true
		rich.Host = soar.Host{ID: 4, Identifier: "4C4C", Name: "WIN", Tags: []string{"dc"}, IP: "10.0.0.1"}
		rich.Rule = &soar.Rule{ID: 1, Name: "Dumping", Techniques: []string{"T1003"}}
		commit(t, b, soar.Change{Alerts: []soar.Alert{rich}})

		clock.moveTo(time.Hour)
		poor := alert("er", "1")
		poor.Status, poor.Host, poor.Rule, poor.Event = soar.StatusResolved, soar.Host{ID: 4, Name: "WIN-RENAMED"}, &soar.Rule{ID: 1, Name: "Dumping 2"}, nil
		commit(t, b, soar.Change{Alerts: []soar.Alert{poor}})

		want := rich
		want.Status = soar.StatusResolved
		want.Host.Name = "WIN-RENAMED"
		want.Rule = &soar.Rule{ID: 1, Name: "Dumping 2", Techniques: []string{"T1003"}}
		got := must(b.AlertByRef(t.Context(), "er-1"))(t)
		if !reflect.DeepEqual(got.Alert, want) {
			t.Errorf("\n got %+v\nwant %+v", got.Alert, want)
		}
		if !got.ReceivedAt.Equal(epoch) {
			t.Errorf("received at %s, want the first time", got.ReceivedAt)
		}
		if found := must(b.Alerts(t.Context(), store.AlertFilter{Host: "win-renamed", Status: "resolved"}))(t); len(found) != 1 {
			t.Errorf("%d alerts by the new name and status", len(found))
		}
	})

	t.Run("evaluation", func(t *testing.T) {
		b := open(t, store.Options{})
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "1"), alert("er", "2"), alert("er", "3")}})
		pending := func() []string {
			return names(must(b.Pending(t.Context(), 0, 10))(t), func(a soar.StoredAlert) string { return a.Alert.ID + " " + a.Pending })
		}
		expect := func(want ...string) {
			t.Helper()
			if got := pending(); !slices.Equal(got, want) {
				t.Errorf("pending %q, want %q", got, want)
			}
			if n := must(b.Counts(t.Context()))(t).Pending; n != int64(len(want)) {
				t.Errorf("counted %d pending, want %d", n, len(want))
			}
		}
		expect("1 alert", "2 alert", "3 alert")
		if got := must(b.Pending(t.Context(), 1, 1))(t); len(got) != 1 || got[0].Key != 2 {
			t.Errorf("Pending(1, 1): %+v", got)
		}
		evaluate := func(key int64, verdicts map[string]string) {
			t.Helper()
			commit(t, b, soar.Change{Evaluated: []soar.Evaluation{{AlertKey: key, Verdicts: verdicts}}})
		}
		evaluate(2, nil)
		evaluate(2, nil) // once more changes nothing
		expect("1 alert", "3 alert")

		changed := alert("er", "1")
		changed.EventCount = 2
		commit(t, b, soar.Change{Alerts: []soar.Alert{changed}}) // while it is being evaluated
		expect("1 alert", "3 alert")
		again := b.Changed(soar.SignalAlertsAgain)
		evaluate(1, map[string]string{"contain": "match", "note": "error: no such field"})
		select {
		case <-again:
		default:
			t.Error("no signal for the alert that is due once more")
		}
		expect("1 alert.updated", "3 alert")
		evaluate(1, map[string]string{"note": "match"})
		expect("3 alert")

		changed = alert("er", "2")
		changed.Status = soar.StatusResolved
		commit(t, b, soar.Change{Alerts: []soar.Alert{changed}}) // long after its evaluation
		expect("2 alert.updated", "3 alert")

		got := must(b.AlertByKey(t.Context(), 1))(t).Verdicts
		if want := map[string]string{"contain": "match", "note": "match"}; !reflect.DeepEqual(got, want) {
			t.Errorf("verdicts %v, want %v", got, want)
		}
	})

	t.Run("lists", func(t *testing.T) {
		b := open(t, store.Options{})
		var alerts []soar.Alert
		for i := range 20 {
			a := alert("er", fmt.Sprint(i))
			a.CreatedAt = epoch.Add(time.Duration(i) * time.Minute)
			a.Host.Name = []string{"WIN-1", "win-2"}[i%2]
			if i%4 == 0 {
				a.Severity, a.Status = soar.SeverityLow, soar.StatusResolved
			}
			if i == 19 {
				a.Server = "other"
			}
			alerts = append(alerts, a)
		}
		commit(t, b, soar.Change{Alerts: alerts})
		for _, tt := range []struct {
			name   string
			filter store.AlertFilter
			want   string
		}{
			{"limit", store.AlertFilter{Limit: 3}, "19 18 17"},
			{"next page", store.AlertFilter{Limit: 3, Before: 18}, "16 15 14"},
			{"server", store.AlertFilter{Server: "other"}, "19"},
			{"severity", store.AlertFilter{Severity: "low"}, "16 12 8 4 0"},
			{"status", store.AlertFilter{Status: "resolved", Limit: 2}, "16 12"},
			{"host in any case", store.AlertFilter{Host: "WIN-2", Limit: 2}, "19 17"},
			{"since", store.AlertFilter{Since: epoch.Add(18 * time.Minute)}, "19 18"},
			{"all together", store.AlertFilter{Server: "er", Severity: "high", Status: "open", Host: "win-1", Since: epoch.Add(10 * time.Minute), Limit: 5}, "18 14 10"},
			{"nothing", store.AlertFilter{Host: "win"}, ""},
		} {
			found := must(b.Alerts(t.Context(), tt.filter))(t)
			if got := strings.Join(names(found, func(a soar.StoredAlert) string { return a.Alert.ID }), " "); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
		open := must(b.KnownOpen(t.Context(), "er", epoch.Add(14*time.Minute), 10))(t)
		if got := strings.Join(names(open, func(a soar.StoredAlert) string { return a.Alert.ID }), " "); got != "18 17 15 14" {
			t.Errorf("KnownOpen: %q", got)
		}
	})

	t.Run("many callers meet the same alerts", func(t *testing.T) {
		b := open(t, store.Options{})
		const callers, each = 16, 200
		var wg sync.WaitGroup
		fresh := make([]int, callers)
		for c := range callers {
			wg.Go(func() {
				for from := range 4 {
					var alerts []soar.Alert
					for i := range each {
						alerts = append(alerts, alert("er", fmt.Sprint((from*each+i*7+c)%(4*each))))
					}
					done, err := b.Commit(t.Context(), soar.Change{Alerts: alerts})
					if err != nil {
						t.Error(err)
						return
					}
					fresh[c] += len(done.New)
				}
			})
		}
		wg.Wait()
		total := 0
		for _, n := range fresh {
			total += n
		}
		seen := map[string]bool{}
		for after := int64(0); ; {
			page := must(b.Feed(t.Context(), after, 100))(t)
			if len(page) == 0 {
				break
			}
			for _, ev := range page {
				if seen[ev.ID] {
					t.Errorf("event %s twice", ev.ID)
				}
				seen[ev.ID] = true
				after = ev.Pos
			}
		}
		if n := must(b.Counts(t.Context()))(t).Alerts; int(n) != total || len(seen) != total {
			t.Errorf("%d alerts counted, %d events, %d told as new", n, len(seen), total)
		}
	})

	t.Run("an alert without server or id is refused", func(t *testing.T) {
		b := open(t, store.Options{})
		for _, a := range []soar.Alert{alert("", "1"), alert("er", "")} {
			if _, err := b.Commit(t.Context(), soar.Change{Alerts: []soar.Alert{alert("er", "9"), a}}); err == nil {
				t.Errorf("alert %+v was taken", a)
			}
		}
		if n := must(b.Counts(t.Context()))(t).Alerts; n != 0 {
			t.Errorf("%d alerts kept of refused changes", n)
		}
	})
}
