package playbooks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// However a playbook names a host, the guard knows it by its identifier: what is protected,
// counted and kept apart by that is so under any other name as well.
func TestOneNameForAHost(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings guard.Settings
		hits     []string // the arguments of the steps
		sent     int
	}{
		{"protected", guard.Settings{Protected: []guard.Protection{{Name: "jewel", Match: guard.Match{IDs: []string{"HOST-7"}}}}}, []string{"host: 7", "host: host-7", `host: "7"`}, 0},
		{"counted once", guard.Settings{Budgets: []guard.Budget{{
			Name: "few", Calls: guard.Calls{Actions: []string{"fake.once"}}, Hosts: 1, Window: time.Hour,
		}}}, []string{"host: HOST-7", "host: 7", "host: host-7"}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				server.add(actions, hostGet, Reads, func(context.Context, Call) (Outcome, error) {
					seven := record("HOST-7")
					seven["id"] = 7
					return Outcome{State: soar.StepExecuted, Output: seven}, nil
				})
				text := "playbook: p\nsteps:\n"
				for _, with := range tt.hits {
					text += "  - {do: fake.once, on_error: continue, with: {" + with + "}}\n"
				}
				_, stop := running(t, j, actions, loadText(t, actions, text), EngineOptions{Guard: guardWith(t, tt.settings)})
				j.put(t, testAlert("1"))
				time.Sleep(time.Minute)
				stop()
				if n := server.called("fake.once"); n != tt.sent {
					t.Errorf("%d calls were sent", n)
				}
			})
		})
	}
}

// Two names of one host are one place: what is done there is done one after the other.
func TestOnePlaceForAHost(t *testing.T) {
	number := float64(7)
	facts := map[string]any{"identifier": "HOST-7", "id": number}
	for _, id := range []string{"HOST-7", "host-7", "7"} {
		if h := HostFrom(id, facts); !h.Known || h.ID != "HOST-7" {
			t.Errorf("%s: %+v", id, h)
		}
	}
	if h := HostFrom("8", facts); h.Known || h.ID != "8" {
		t.Errorf("another host: %+v", h)
	}
}
