package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

var testLife = lifetimes{found: 5 * time.Minute, empty: time.Minute, stale: time.Hour}

func reading(value any, err error, reads *int) func() (*answer, error) {
	return func() (*answer, error) {
		*reads++
		if err != nil {
			return nil, err
		}
		return &answer{value: value, empty: value == nil, size: 1}, nil
	}
}

func TestCacheLifetimes(t *testing.T) {
	gone := fmt.Errorf("host x: %w", soar.ErrNotFound)
	down := errors.New("the server is down")
	for _, tt := range []struct {
		name        string
		first       any
		firstErr    error
		wait        time.Duration
		then        error
		how         string
		value       any
		reads       int
		err, answer string
	}{
		{name: "within its time", first: "a", wait: 5*time.Minute - 1, how: fromCache, value: "a", reads: 1},
		{name: "after its time", first: "a", wait: 5 * time.Minute, how: lookedUp, value: "new", reads: 2},
		{name: "nothing, within its shorter time", first: nil, wait: time.Minute - 1, how: fromCache, reads: 1},
		{name: "nothing, after it", first: nil, wait: time.Minute, how: lookedUp, value: "new", reads: 2},
		{name: "no such thing is remembered", firstErr: gone, wait: time.Minute - 1, how: fromCache, reads: 1, answer: gone.Error()},
		{name: "no such thing, after it", firstErr: gone, wait: time.Minute, how: lookedUp, value: "new", reads: 2},
		{name: "stale", first: "a", wait: 10 * time.Minute, then: down, how: fromStale, value: "a", reads: 2, err: down.Error()},
		{name: "too old to be stale", first: "a", wait: 65 * time.Minute, then: down, how: lookUpFailed, reads: 2, err: down.Error()},
		{name: "gone since is no failure", first: "a", wait: 10 * time.Minute, then: gone, how: lookedUp, reads: 2, answer: gone.Error()},
		{name: "a failure is not tried again at once", firstErr: down, wait: failureTTL - 1, how: lookUpFailed, reads: 1, err: down.Error()},
		{name: "a failure is tried again", firstErr: down, wait: failureTTL, how: lookedUp, value: "new", reads: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, reads := newCache(time.Now), 0
				c.get(t.Context(), "k", testLife, reading(tt.first, tt.firstErr, &reads))
				time.Sleep(tt.wait)
				got := c.get(t.Context(), "k", testLife, reading("new", tt.then, &reads))
				var value any
				answerErr := ""
				if got.answer != nil {
					value = got.value
					if got.answer.err != nil {
						answerErr = got.answer.err.Error()
					}
				}
				err := ""
				if got.err != nil {
					err = got.err.Error()
				}
				if got.how != tt.how || value != tt.value || reads != tt.reads || err != tt.err || answerErr != tt.answer {
					t.Errorf("%s, %v, %d reads, err %q, answer %q", got.how, value, reads, err, answerErr)
				}
			})
		})
	}
}

// A stale answer is not read again for each that asks while the server is down, and
// a new one takes its place when the server is back.
func TestCacheStaleUntilBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, reads := newCache(time.Now), 0
		c.get(t.Context(), "k", testLife, reading("old", nil, &reads))
		time.Sleep(10 * time.Minute)
		for range 3 {
			if got := c.get(t.Context(), "k", testLife, reading(nil, errors.New("down"), &reads)); got.how != fromStale || got.value != "old" {
				t.Errorf("while it is down: %+v", got)
			}
		}
		if reads != 2 {
			t.Errorf("%d reads, want one of each kind", reads)
		}
		time.Sleep(failureTTL)
		if got := c.get(t.Context(), "k", testLife, reading("new", nil, &reads)); got.how != lookedUp || got.value != "new" {
			t.Errorf("when it is back: %+v", got)
		}
	})
}

func TestCacheReadsOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, reads := newCache(time.Now), 0
		results := make(chan found, 10)
		for range cap(results) {
			go func() {
				results <- c.get(t.Context(), "k", testLife, func() (*answer, error) {
					reads++
					time.Sleep(time.Second)
					return &answer{value: "v"}, nil
				})
			}()
		}
		for range cap(results) {
			if got := <-results; got.value != "v" {
				t.Errorf("%+v", got)
			}
		}
		if reads != 1 {
			t.Errorf("%d reads for ten that ask", reads)
		}
	})
}

// Who waits for another's reading reads for itself when the other gives up.
func TestCacheOtherGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan found, 1), make(chan found, 1)
		go func() {
			first <- c.get(ctx, "k", testLife, func() (*answer, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
		}()
		synctest.Wait()
		go func() {
			second <- c.get(t.Context(), "k", testLife, func() (*answer, error) { return &answer{value: "mine"}, nil })
		}()
		synctest.Wait()
		cancel()
		if got := <-first; !errors.Is(got.err, context.Canceled) {
			t.Errorf("first: %+v", got)
		}
		if got := <-second; got.answer == nil || got.value != "mine" {
			t.Errorf("second: %+v", got)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	c, n := newCache(time.Now), 0
	for i := range maxCached + 100 {
		c.get(t.Context(), fmt.Sprint("small", i), testLife, reading("v", nil, &n))
	}
	if len(c.entries) > maxCached || c.bytes != len(c.entries) {
		t.Errorf("%d entries, %d bytes", len(c.entries), c.bytes)
	}
	for i := range 100 {
		got := c.get(t.Context(), fmt.Sprint("large", i), testLife, func() (*answer, error) { return &answer{value: i, size: 1 << 20}, nil })
		if got.value != i {
			t.Fatalf("read %d, got %v", i, got.value)
		}
		if c.bytes > maxCachedBytes {
			t.Fatalf("%d bytes after %d", c.bytes, i)
		}
	}
}

// What a condition can tell of a look-up.
func TestEnrichStatus(t *testing.T) {
	down := errors.New("down")
	for _, tt := range []struct {
		name, condition string
		output          any
		err             error
		want            Verdict
		why             string
	}{
		{"clean", `.enrich_status.x.state == "empty" and .enrich.x == []`, []any{}, nil, Match, ""},
		{"found", `.enrich_status.x == {state: "found", stale: false, age_seconds: 0}`, map[string]any{"n": 1}, nil, Match, ""},
		{"missing is not clean", `.enrich.x == null`, nil, down, Failed, "enrichment x failed: down"},
		{"missing, and it says so", `.enrich_status.x.state == "failed" and .enrich.x == null`, nil, down, Match, ""},
		{"no such thing", `.enrich_status.x.state == "empty"`, nil, fmt.Errorf("x: %w", soar.ErrNotFound), Match, ""},
		{"no such thing, unasked", `.enrich.x.malicious | not`, nil, fmt.Errorf("x: %w", soar.ErrNotFound), Failed, "x: not found"},
		{"hit", `.enrich_status.x.state == "empty"`, []any{"hit"}, nil, NoMatch, ""},
		{"host", `.enrich_status.host.state == "failed" and .enrich_errors.host == "down"`, []any{}, nil, Match, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := newFakeServer()
			actions := server.actions()
			server.add(actions, "fake.look", Reads, func(context.Context, Call) (Outcome, error) {
				return Outcome{State: soar.StepExecuted, Output: tt.output}, tt.err
			})
			server.add(actions, hostGet, Reads, func(context.Context, Call) (Outcome, error) { return Outcome{}, down })
			set := loadText(t, actions, "playbook: p\nenrich: {x: {do: fake.look}}\nmatch:\n  all:\n    - it is so: '"+tt.condition+"'\nsteps: [{do: fake.tell}]")
			x, err := Explain(t.Context(), set.Get("p"), testAlert("1"), actions)
			if err != nil {
				t.Fatal(err)
			}
			if status, _ := x.EnrichStatus["x"].(map[string]any); status["state"] == nil {
				t.Errorf("explain tells no status: %v", x.EnrichStatus)
			}
			if x.Verdict != tt.want || !strings.Contains(x.Conditions[0].Error, tt.why) {
				t.Errorf("verdict %s, %+v", x.Verdict, x.Conditions[0])
			}
		})
	}
}

// A run sees how old a stale value is, and sees the same after a restart.
func TestStaleValueInRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		var down error
		server.add(actions, "fake.look", Reads, func(context.Context, Call) (Outcome, error) {
			return Outcome{State: soar.StepExecuted, Output: "seen"}, down
		})
		set := loadText(t, actions, `
playbook: p
enrich: {x: {do: fake.look, ttl: 2m, stale: 30m}}
steps:
  - {id: hit, do: fake.once}
  - {do: fake.repeat, with: {value: "${{ .enrich.x }}", status: "${{ .enrich_status.x }}", error: "${{ .enrich_errors.x }}"}}
`)
		server.executedAfter = 1000
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		synctest.Wait()
		time.Sleep(3 * time.Minute)
		down = errors.New("down")
		j.put(t, testAlert("2"))
		synctest.Wait()
		stop()
		server.executedAfter = 0
		_, stop = running(t, j, actions, set, EngineOptions{})
		time.Sleep(time.Minute)
		stop()
		var got []string
		for _, c := range server.done("fake.repeat") {
			got = append(got, fmt.Sprintf("%v %v %v", c.with["value"], c.with["status"], c.with["error"]))
		}
		slices.Sort(got)
		want := []string{
			"seen map[age_seconds:0 stale:false state:found] <nil>",
			"seen map[age_seconds:180 stale:true state:found] <nil>",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestEnrichLint(t *testing.T) {
	actions := newFakeServer().actions()
	for _, tt := range []struct{ name, enrich, condition, want string }{
		{"too long to keep", "{do: fake.read, ttl: 25h}", "true", "ttl must be between 0s and 24h0m0s"},
		{"too long", "{do: fake.read, stale: 48h}", "true", "stale must be between 0s and 24h0m0s"},
		{"unknown name", "{do: fake.read}", ".enrich_status.y.state", `there is no enrichment "y"`},
		{"unknown field", "{do: fake.read}", ".enrich_status.x.stat", `the status of a look-up has no field "stat"`},
		{"good", "{do: fake.read, ttl: 1m, empty_ttl: 10s, stale: 0s}", ".enrich_status.x.state and .enrich_status.host.stale", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "playbook: p\nenrich: {x: " + tt.enrich + "}\nmatch: {all: [{c: " + tt.condition + "}]}\nsteps: [{do: fake.tell}]"
			_, problems := Parse("p.yaml", []byte(text), actions)
			got := ""
			if len(problems) > 0 {
				got = problems[0].Message
			}
			if got != tt.want || len(problems) > 1 {
				t.Errorf("got %v, want %q", problems, tt.want)
			}
		})
	}
}

type lookedOutput struct {
	Asked int   `json:"asked"`
	Rows  []int `json:"rows"`
}

func (o lookedOutput) FoundNothing() bool { return o.Asked > 0 && len(o.Rows) == 0 }

func TestIsNothing(t *testing.T) {
	for _, tt := range []struct {
		kind any
		data string
		want bool
	}{
		{nil, `null`, true},
		{nil, `""`, true},
		{nil, `[]`, true},
		{nil, `{}`, true},
		{nil, `0`, false},
		{nil, `false`, false},
		{nil, `{"asked": 1, "rows": []}`, false},
		{lookedOutput{}, `{"asked": 1, "rows": []}`, true},
		{lookedOutput{}, `{"asked": 0, "rows": []}`, false},
		{lookedOutput{}, `{"asked": 1, "rows": [1]}`, false},
		{lookedOutput{}, `{"asked": "not a number"}`, false},
	} {
		var value any
		if err := json.Unmarshal([]byte(tt.data), &value); err != nil {
			t.Fatal(err)
		}
		if got := isNothing(tt.kind, value, []byte(tt.data)); got != tt.want {
			t.Errorf("%T %s: %t", tt.kind, tt.data, got)
		}
	}
}
