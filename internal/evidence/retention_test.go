package evidence

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/erbridge/erbridge/internal/soar"
)

// fill keeps carves A, B and C, which were taken a day after one another by the runs 1, 2
// and 3. Each has 2048 bytes.
func fill(t *testing.T, o Options, now *time.Time) *Store {
	t.Helper()
	o.Now = func() time.Time { return *now }
	s := open(t, t.TempDir(), o)
	for i, name := range []string{"A", "B", "C"} {
		*now = start.Add(time.Duration(i) * 24 * time.Hour)
		if _, err := s.Take(t.Context(), origin(name), 0, Actor{Name: "run", Run: soar.RunID(i + 1)}, sends(archiveOf(t, "tmp/evil"))); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func archives(t *testing.T, s *Store) string {
	t.Helper()
	var names []string
	for _, path := range slices.Sorted(maps.Keys(tree(t, s.dir))) {
		if name, ok := strings.CutSuffix(path, ".tar"); ok {
			names = append(names, name[len(name)-1:])
		}
	}
	return strings.Join(names, "")
}

func TestRetention(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		at   time.Duration // after the first one
		want string
	}{
		{"everything is kept", Options{}, 10000 * time.Hour, "ABC"},
		{"too old", Options{Keep: 36 * time.Hour}, 3 * 24 * time.Hour, "C"},
		{"just not too old", Options{Keep: 72 * time.Hour}, 72 * time.Hour, "ABC"},
		{"too much", Options{MaxTotal: 5000}, 0, "BC"},
		{"much too much", Options{MaxTotal: 100}, 0, ""},
		{"just not too much", Options{MaxTotal: 3 * 2048}, 0, "ABC"},
		{"age makes room", Options{Keep: 60 * time.Hour, MaxTotal: 2 * 2048}, 61 * time.Hour, "BC"},
		{"in use", Options{Keep: time.Hour, InUse: func(_ context.Context, run soar.RunID) (bool, error) { return run == 2, nil }}, 5000 * time.Hour, "B"},
		{"too much, and the oldest is in use", Options{MaxTotal: 2100, InUse: func(_ context.Context, run soar.RunID) (bool, error) { return run == 1, nil }}, 0, "A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := start
			s := fill(t, tt.o, &now)
			now = start.Add(tt.at)
			for range 2 { // the second one has nothing to do
				if err := s.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := archives(t, s); got != tt.want {
					t.Errorf("kept %q, want %q", got, tt.want)
				}
			}
			for _, name := range []string{"A", "B", "C"} {
				r := whole(t, s, name)
				state, told := StateKept, "downloaded checked"
				if !strings.Contains(tt.want, name) {
					state, told = StateDeleted, "downloaded checked deleted"
				}
				if r.State != state || kinds(t, s, name) != told {
					t.Errorf("%s is %s, record %s", name, r.State, kinds(t, s, name))
				}
				if e := r.Custody.last(Deleted); e != nil && (e.By != "retention" || !strings.Contains(e.Why, "carves.") || e.SHA256 != r.SHA256) {
					t.Errorf("%+v", e)
				}
			}
		})
	}
}

// Nobody can say whether a run still needs it: then it stays.
func TestRetentionInDoubt(t *testing.T) {
	now, unreadable := start, errors.New("the store cannot be read")
	s := fill(t, Options{Keep: time.Hour, InUse: func(context.Context, soar.RunID) (bool, error) { return false, unreadable }}, &now)
	now = now.Add(1000 * time.Hour)
	if err := s.Sweep(t.Context()); !errors.Is(err, unreadable) || archives(t, s) != "ABC" {
		t.Errorf("kept %s: %v", archives(t, s), err)
	}
}

// What somebody is reading stays until he has it, and what was deleted can be taken anew.
func TestRetentionWhileSomebodyReads(t *testing.T) {
	now := start
	s := fill(t, Options{Keep: time.Hour}, &now)
	now = now.Add(1000 * time.Hour)
	_, err := s.Copy(t.Context(), "A", writerFunc(func(p []byte) (int, error) {
		if err := s.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		return len(p), nil
	}), nil, anna)
	if err != nil || archives(t, s) != "A" {
		t.Errorf("kept %q: %v", archives(t, s), err)
	}
	if err := s.Sweep(t.Context()); err != nil || archives(t, s) != "" {
		t.Errorf("kept %q: %v", archives(t, s), err)
	}
	if _, err := s.Copy(t.Context(), "A", io.Discard, nil, anna); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "retention has deleted it") {
		t.Error(err)
	}
	if _, err := s.Take(t.Context(), origin("A"), 0, byRun, sends(archiveOf(t, "tmp/evil"))); err != nil {
		t.Fatal(err)
	}
	if r := whole(t, s, "A"); r.State != StateKept || kinds(t, s, "A") != "downloaded checked read deleted downloaded checked" {
		t.Errorf("%s: %s", r.State, kinds(t, s, "A"))
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRunSweepsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		s := open(t, t.TempDir(), Options{Keep: 90 * time.Minute, Now: time.Now, Registerer: registry})
		if _, err := s.Take(t.Context(), origin("A"), 0, byRun, sends(archiveOf(t, "tmp/evil"))); err != nil {
			t.Fatal(err)
		}
		left := s.in("A", partPrefix+"123")
		if err := os.WriteFile(left, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) || archives(t, s) != "A" {
			t.Errorf("after the start: kept %q, part %v", archives(t, s), err)
		}
		time.Sleep(time.Hour) // the bubble's clock
		synctest.Wait()
		if got := archives(t, s); got != "A" {
			t.Errorf("after an hour: kept %q", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := archives(t, s); got != "" {
			t.Errorf("after two hours: kept %q", got)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if got := gathered(t, registry); got["erbridge_carves_total kept"] != 1 || got["erbridge_carves_total deleted"] != 1 ||
			got["erbridge_carves_kept_bytes "] != 0 || got["erbridge_carves_downloaded_bytes_total "] != 2048 {
			t.Errorf("metrics %v", got)
		}
	})
}

func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			values[family.GetName()+" "+labelOf(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

func labelOf(m *dto.Metric) string {
	for _, l := range m.GetLabel() {
		return l.GetValue()
	}
	return ""
}
