package playbooks

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"
)

// pinnedAction is an action whose calls depend on a text beside the playbook.
type pinnedAction struct {
	*fakeAction
	text string
}

func (a pinnedAction) Pin(with map[string]any) map[string]any {
	with = maps.Clone(with)
	with["hash"] = a.text
	return with
}

// Whoever agreed to run a text did not agree to run what has become of it, also when
// erbridge was restarted meanwhile.
func TestApprovalHoldsForWhatWasPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		start := func(text string) (*Engine, func()) {
			actions := server.actions()
			actions["fake.once"] = pinnedAction{actions["fake.once"].(*fakeAction), text}
			e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, fromLeads)})
			return e, stop
		}
		e, stop := start("reviewed")
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		first := onlyWaiting(t, e)
		if first.With["hash"] != "reviewed" {
			t.Errorf("people are asked about %v", first.With)
		}
		stop()

		e, stop = start("changed")
		time.Sleep(time.Minute)
		second := onlyWaiting(t, e)
		if second.ID == first.ID || second.With["hash"] != "changed" {
			t.Errorf("after the change people are asked about %s: %v", second.ID, second.With)
		}
		agree(t, e, second.ID, "ben")
		time.Sleep(time.Minute)
		stop()
		if got := server.done("fake.once"); len(got) != 1 || got[0].with["hash"] != "changed" {
			t.Errorf("sent %+v", got)
		}
	})
}
