package playbooks

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/playbooks/guard"
)

// What waits is counted by what it waits for, also after a restart, until it goes on.
func TestStepsWaitingAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		back := time.Now().Add(2 * time.Hour)
		var looks atomic.Int64
		away(actions, "fake.marked", &back, &looks)
		set := loadText(t, actions, `
playbook: asks
match: {all: [{it is asked about: '.alert.id == "1"'}]}
mode: approve
steps: [{id: hit, do: fake.once, timeout: 10m, with: {host: "${{ .alert.host.identifier }}"}}]
`, `
playbook: both
match: {none: [{it is asked about: '.alert.id == "1"'}]}
steps:
  - parallel:
      - {id: left, do: fake.marked, timeout: 10m, with: {n: 1, host: "${{ .alert.host.identifier }}"}}
      - {id: right, do: fake.marked, timeout: 10m, with: {n: 2, host: "${{ .alert.host.identifier }}"}}
`)
		first := prometheus.NewRegistry()
		options := func(r *prometheus.Registry) EngineOptions {
			return EngineOptions{Registerer: r, Guard: approvers(t, guard.ApprovalSettings{From: []string{"leads"}, Expires: 10 * time.Hour}), Hosts: anyHost}
		}
		e, stop := running(t, j, actions, set, options(first))
		check := func(r *prometheus.Registry, when, want string) {
			t.Helper()
			if got := gathered(t, r, "erbridge_steps_waiting"); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		line := func(approval, host, stopped int) string {
			return fmt.Sprintf("approval %d, change_freeze 0, host %d, kill_switch %d, limits 0, open_call 0", approval, host, stopped)
		}
		check(first, "at the start", line(0, 0, 0))
		j.put(t, testAlert("1"), testAlert("2"), testAlert("3"))
		time.Sleep(time.Minute)
		check(first, "waiting", line(1, 4, 0))
		if _, err := e.Pause(t.Context(), "ann", ""); err != nil {
			t.Fatal(err)
		}
		j.put(t, testAlert("4"))
		time.Sleep(time.Minute)
		check(first, "paused", line(1, 4, 2))
		stop()
		second := prometheus.NewRegistry()
		e, stop = running(t, j, actions, set, options(second))
		time.Sleep(time.Second)
		check(second, "after a restart", line(0, 4, 3)) // the kill switch comes before people
		if err := e.Resume(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		check(second, "the hosts are back", line(1, 0, 0))
		agree(t, e, onlyWaiting(t, e).ID, "ann")
		time.Sleep(time.Minute)
		check(second, "answered", line(0, 0, 0))
		stop()
	})
}
