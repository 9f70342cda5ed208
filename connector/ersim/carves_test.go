package ersim

import (
	"testing"
	"time"
)

// carving starts a carve of a file on the first Windows host.
func carving(t *testing.T, s *Server) *carve {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		for _, f := range h.files {
			if h.windows() {
				return s.startCarve(h, []*file{f}, 1)
			}
		}
	}
	t.Fatal("no file on a Windows host")
	return nil
}

func TestFaultsOfCarves(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  Fault
		status string // a second later
		later  string // and an hour later
		row    func(c *carve, row obj) bool
	}{
		{"none", Fault{}, carveCompleted, carveCompleted, func(c *carve, row obj) bool { return row["carve_size"] == len(c.data) && kindTar(c.data) }},
		{"stuck for good", Fault{Kind: CarveStuck}, carveProgress, carveProgress, func(c *carve, row obj) bool { return c.received == 1 && row["archive"] == nil }},
		{"stuck for a while", Fault{Kind: CarveStuck, Delay: time.Minute}, carveProgress, carveCompleted, func(c *carve, _ obj) bool { return c.received == c.blocks() }},
		{"no archive", Fault{Kind: CarveJunk}, carveCompleted, carveCompleted, func(c *carve, row obj) bool { return row["carve_size"] == len(c.data) && !kindTar(c.data) }},
		{"wrong size", Fault{Kind: CarveSize}, carveCompleted, carveCompleted, func(c *carve, row obj) bool { return row["carve_size"] == 2*len(c.data) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
			s, err := New(Options{Now: func() time.Time { return now }, CommandDelay: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if tt.fault.Kind != "" {
				s.Inject(tt.fault)
			}
			c := carving(t, s)
			for _, step := range []struct {
				after time.Duration
				want  string
			}{{time.Second, tt.status}, {time.Hour, tt.later}} {
				for range 200 { // each thing that happens plans the next
					now = now.Add(step.after / 200)
					s.Tick()
				}
				if c.status != step.want {
					t.Errorf("after %s: %s, want %s", step.after, c.status, step.want)
				}
			}
			if !tt.row(c, s.carveRow(c)) {
				t.Errorf("%d of %d blocks, row %v", c.received, c.blocks(), s.carveRow(c))
			}
			if next := carving(t, s); next.stuck != nil || next.told != len(next.data) {
				t.Error("the next carve is hit as well")
			}
		})
	}
}

func kindTar(data []byte) bool { return len(data) > 262 && string(data[257:262]) == "ustar" }
