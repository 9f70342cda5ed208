package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAPartThatFailsEndsTheGroupByName(t *testing.T) {
	broken := errors.New("disk is gone")
	for name, tt := range map[string]struct {
		run  func(context.Context) error
		want string
	}{
		"with an error": {func(context.Context) error { return broken }, "store: disk is gone"},
		"without one":   {func(context.Context) error { return nil }, "store: ended by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t.Context())
			other := g.start("engine", untilStopped)
			g.start("store", tt.run)
			<-g.Done()
			if err := g.Err(); err == nil || err.Error() != tt.want {
				t.Errorf("Err() = %v, want %s", err, tt.want)
			}
			if err := stop(time.Minute, other); err != nil {
				t.Errorf("stopping the other part: %v", err)
			}
		})
	}
}

func TestPartsOutliveTheContextUntilTheyAreStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := newGroup(ctx)
	p := g.start("engine", untilStopped)
	cancel()
	<-g.Done()
	if g.Err() != nil {
		t.Errorf("being told to stop is the failure %v", g.Err())
	}
	select {
	case <-p.done:
		t.Error("the part ended with the context, and not in its turn")
	default:
	}
	if err := stop(time.Minute, p); err != nil {
		t.Error(err)
	}
}

func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t.Context())
		release := make(chan struct{})
		stuck := g.start("sink slack", func(context.Context) error { <-release; return nil })
		noisy := g.start("sink file", func(ctx context.Context) error { <-ctx.Done(); return errors.New("flush: no space") })
		began := time.Now()
		err := stop(3*time.Second, stuck, noisy)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		for _, want := range []string{"sink slack: still running after 3s", "sink file: flush: no space"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v does not say %q", err, want)
			}
		}
		close(release)
		<-stuck.done
		if g.Err() != nil {
			t.Errorf("a part that was told to stop failed the group: %v", g.Err())
		}
	})
}
