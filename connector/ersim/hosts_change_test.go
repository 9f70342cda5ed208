package ersim

import "testing"

// What becomes of a host after it was enrolled anew is nothing to what it was before.
func TestEnrolledHostHasItsOwnProcesses(t *testing.T) {
	r := newRig(t, Options{})
	before := r.s.Hosts()[0]
	if r.s.Enrol(before.Identifier, "EC2ANEW") == 0 {
		t.Fatal("not enrolled")
	}
	r.s.mu.Lock()
	old, again := r.s.hosts[0], r.s.host("EC2ANEW")
	again.stop("", before.Processes[0].Name)
	for i, p := range old.processes {
		if p == nil {
			t.Errorf("process %d of what it was before is gone", i)
		}
	}
	r.s.mu.Unlock()
}
