package sinks_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// connected waits until as many connections were opened in all, and one is open.
func (b *slackBubble) connected(opened int) sinksim.SlackSockets {
	for {
		s, news := b.sim.Sockets()
		if s.Opened >= opened && s.Open == 1 {
			return s
		}
		<-news
	}
}

// works clicks, to see that clicks arrive.
func (b *slackBubble) works(sink sinks.Sink) {
	b.t.Helper()
	before := b.desk.log()
	b.press("U0ANN", b.sim.Messages()[0].TS, "erb.resolve.false", "")
	if b.desk.log() == before {
		b.t.Error("a click was acknowledged, and nothing was done")
	}
}

func TestSlackSocketIsReplaced(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(s *sinksim.Slack) error
		most int // connections at the same time
	}{
		"warning":           {func(s *sinksim.Slack) error { return s.Disconnect("warning") }, 2},
		"refresh_requested": {func(s *sinksim.Slack) error { return s.Disconnect("refresh_requested") }, 2},
		"cut":               {func(s *sinksim.Slack) error { s.Cut(); return nil }, 1},
		"looks alive":       {func(s *sinksim.Slack) error { s.Freeze(); return nil }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newSlackBubble(t, sinksim.SlackOptions{})
				defer b.close()
				sink := b.open(&sinktest.Memory{})
				sendAll(t, sink, sinktest.Event(1))
				b.listen(sink)
				b.connected(1)
				began := time.Now()
				if err := tt.do(b.sim); err != nil {
					t.Fatal(err)
				}
				s := b.connected(2)
				if s.Most > tt.most {
					t.Errorf("%d connections at the same time, want %d at most", s.Most, tt.most)
				}
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %s", took)
				}
				b.works(sink)
			})
		})
	}
}

// A socket that nothing is wrong with stays, however long nobody clicks.
func TestSlackQuietSocketStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		sendAll(t, sink, sinktest.Event(1))
		b.listen(sink)
		b.connected(1)
		time.Sleep(4 * time.Hour)
		if s, _ := b.sim.Sockets(); s.Opened != 1 || s.Open != 1 {
			t.Errorf("connections: %+v", s)
		}
		b.works(sink)
		// Slack replaces its connections after a time that it tells. One that it forgot
		// is replaced all the same.
		time.Sleep(2 * time.Hour)
		if s := b.connected(2); s.Opened != 2 {
			t.Errorf("connections: %+v", s)
		}
		b.works(sink)
	})
}

// Slack switches Socket Mode off, or does not know the token: a person has to see to it.
func TestSlackSocketRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		ended := make(chan error, 1)
		go func() { ended <- sink.(sinks.Runner).Run(t.Context()) }()
		b.connected(1)
		if err := b.sim.Disconnect("link_disabled"); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, sinks.ErrConfig) || !strings.Contains(err.Error(), "Socket Mode is turned off") {
			t.Errorf("error %v", err)
		}
		for answer, want := range map[string]string{
			"invalid_auth": "make one, xapp-...", "missing_scope": "connections:write", "not_allowed_token_type": "not the bot token",
		} {
			b.sim.Next(sinksim.Answer{Error: answer})
			err := sink.(sinks.Runner).Run(t.Context())
			if !errors.Is(err, sinks.ErrConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "xapp-demo") {
				t.Errorf("%s: error %v", answer, err)
			}
		}
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
}

// No connection for long is told; until then it is tried with growing waits.
func TestSlackSocketFarAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		for range 20 {
			b.sim.Next(sinksim.Answer{Status: 503})
		}
		began := time.Now()
		err := sink.(sinks.Runner).Run(t.Context())
		if err == nil || errors.Is(err, sinks.ErrConfig) || b.sim.Calls("apps.connections.open") != 10 {
			t.Errorf("error %v after %d tries", err, b.sim.Calls("apps.connections.open"))
		}
		if took := time.Since(began); took < time.Minute {
			t.Errorf("given up after %s", took)
		}
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Delivery does not depend on whether clicks come in.
func TestSlackDeliversWithoutASocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{AppToken: "xapp-another"})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		if err := sink.(sinks.Runner).Run(t.Context()); !errors.Is(err, sinks.ErrConfig) {
			t.Errorf("error %v", err)
		}
		sendAll(t, sink, sinktest.Event(1), outcome("step-1", soar.StepVerified))
		if n := len(b.sim.Messages()); n != 2 {
			t.Errorf("%d messages", n)
		}
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A Slack that asks for another connection at once, again and again, is not asked for one
// without a pause.
func TestSlackRefreshStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		sendAll(t, sink, sinktest.Event(1))
		b.listen(sink)
		began := time.Now()
		for opened := 1; opened <= 12; opened++ {
			b.connected(opened)
			if err := b.sim.Disconnect("refresh_requested"); err != nil {
				t.Fatal(err)
			}
		}
		b.connected(13)
		if took := time.Since(began); took < 30*time.Second {
			t.Errorf("12 connections were replaced within %s", took)
		}
		b.works(sink)
	})
}
