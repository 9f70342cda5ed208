package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// failing is what a sink does besides delivering, and fails again and again.
type failing struct {
	fails int
	runs  int
	ended chan struct{} // closed when it was told to stop
}

func (f *failing) Run(ctx context.Context) error {
	f.runs++
	if f.runs == 2 {
		panic("a mistake of ours")
	}
	if f.runs <= f.fails {
		return errors.New("the token was withdrawn\n\x1b[31m")
	}
	<-ctx.Done()
	close(f.ended)
	return nil
}

// What a sink does besides delivering is started again when it fails, however often and
// however it does, and people are told once.
func TestRunnerIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(t.Context(), t.TempDir(), store.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		storeCtx, endStore := context.WithCancel(context.WithoutCancel(t.Context()))
		stored := make(chan error, 1)
		go func() { stored <- st.Run(storeCtx) }()
		d := &Daemon{o: Options{Now: time.Now}, log: slog.New(slog.DiscardHandler), store: st}
		f := &failing{fails: 5, ended: make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		delivering := func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}
		ended := make(chan error, 1)
		go func() {
			ended <- beside(delivering, func(ctx context.Context) { d.keepRunning(ctx, "soc", f) })(ctx)
		}()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if f.runs != 6 {
			t.Errorf("it ran %d times, want 6", f.runs)
		}
		events, err := st.Feed(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) != 1 || events[0].Type != soar.EventTrouble || !strings.Contains(events[0].Text, `Sink "soc" hears nothing`) || strings.Contains(events[0].Text, "\x1b") {
			t.Errorf("people were told %+v", events)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		<-f.ended
		endStore()
		if err := errors.Join(<-stored, st.Close()); err != nil {
			t.Error(err)
		}
	})
}
