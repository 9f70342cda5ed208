package playbooks

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// readStore counts how often each alert is read as pending.
type readStore struct {
	*store.Store

	mu   sync.Mutex
	read map[int64]int
}

func (s *readStore) Pending(ctx context.Context, after int64, limit int) ([]soar.StoredAlert, error) {
	found, err := s.Store.Pending(ctx, after, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range found {
		s.read[found[i].Key]++
	}
	return found, err
}

// An alert that is being evaluated is not read again whenever another one comes in.
// What changes meanwhile, or long after its evaluation, is evaluated once more.
func TestPendingAlertsAreReadOnce(t *testing.T) {
	s, server := &readStore{Store: openStore(t, t.TempDir()), read: map[int64]int{}}, newFakeServer()
	actions := server.actions()
	asked, held := make(chan string), make(chan struct{})
	server.add(actions, "fake.look", Reads, func(ctx context.Context, call Call) (Outcome, error) {
		what := fmt.Sprint(call.With["id"], " ", call.With["status"])
		asked <- what
		if what == "0 open" {
			select {
			case <-held:
			case <-ctx.Done():
			}
		}
		return Outcome{State: soar.StepExecuted}, nil
	})
	set := loadText(t, actions, `
playbook: p
on: [alert, alert.updated]
enrich: {x: {do: fake.look, with: {id: "${{ .alert.id }}", status: "${{ .alert.status }}"}}}
match: {all: [{it is found: .enrich.x == "no"}]}
steps: [{do: fake.repeat}]
`)
	running(t, s, actions, set, EngineOptions{})
	put := func(alerts ...soar.Alert) {
		t.Helper()
		if _, err := s.Commit(t.Context(), soar.Change{Alerts: alerts}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-asked:
			if got != want {
				t.Fatalf("asked about %q, want %q", got, want)
			}
		case <-t.Context().Done():
			t.Fatalf("never asked about %q", want)
		}
	}
	const alerts = 20
	for i := range alerts {
		put(testAlert(fmt.Sprint(i)))
		expect(fmt.Sprint(i, " open"))
	}
	s.mu.Lock()
	for key, n := range s.read {
		if n != 1 {
			t.Errorf("alert %d was read %d times", key, n)
		}
	}
	s.mu.Unlock()

	first, second := testAlert("0"), testAlert("1")
	first.Status, second.Status = soar.StatusResolved, soar.StatusResolved
	put(second)
	expect("1 resolved")
	put(first) // which is still being evaluated as it was
	close(held)
	expect("0 resolved")
}
