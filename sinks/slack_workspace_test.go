package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
)

// pipes is a network inside the process. Unlike a real one, it can be waited for under
// testing/synctest.
type pipes struct {
	conns chan net.Conn
	shut  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), shut: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.shut:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.shut) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.shut:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// slackBubble is a workspace that is reached through pipes. Call it inside of a
// synctest bubble, and stop before the bubble ends.
type slackBubble struct {
	t    *testing.T
	sim  *sinksim.Slack
	net  *pipes
	desk *desk
	stop []func()
}

func newSlackBubble(t *testing.T, o sinksim.SlackOptions) *slackBubble {
	b := &slackBubble{t: t, net: newPipes(), desk: newDesk()}
	o.URL = "http://localhost"
	b.sim = sinksim.NewSlack(o)
	server := &http.Server{Handler: b.sim, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(b.net) }()
	b.stop = append(b.stop, func() {
		b.sim.Cut() // connections that were taken over are not the server's
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return b
}

func (b *slackBubble) close() {
	for _, stop := range slices.Backward(b.stop) {
		stop()
	}
}

// open makes a sink that has buttons.
func (b *slackBubble) open(state sinks.State) sinks.Sink {
	b.t.Helper()
	s := sinks.DefaultSlackSettings()
	s.Token, s.AppToken, s.Channel = soar.SecretValue("xoxb-demo"), soar.SecretValue("xapp-demo"), "#soc"
	s.APIURL = "http://localhost/api/"
	sink, err := sinks.Open("soc", "slack", &s, sinks.Env{Version: "1", State: state, Desk: b.desk, Log: slog.New(slog.NewTextHandler(b.t.Output(), nil))})
	if err != nil {
		b.t.Fatal(err)
	}
	sinks.DialSlack(sink, b.net.dial)
	return sink
}

// listen runs what a sink does besides Send, until the returned function is called.
func (b *slackBubble) listen(sink sinks.Sink) (stop func() error) {
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() {
		err := sink.(sinks.Runner).Run(ctx)
		if ctx.Err() == nil {
			b.t.Errorf("it listens no more: %v", err)
		}
		ended <- err
	}()
	stop = sync.OnceValue(func() error {
		cancel()
		err := <-ended
		return errors.Join(err, sink.Close())
	})
	b.stop = append(b.stop, func() { _ = stop() })
	return stop
}

// press clicks and waits until it was acknowledged.
func (b *slackBubble) press(user, ts, action, option string) {
	b.t.Helper()
	p, err := b.sim.Press(user, ts, action, option)
	if err != nil {
		b.t.Fatal(err)
	}
	select {
	case <-p.Acked:
	case <-time.After(time.Minute):
		b.t.Fatalf("the click on %s was never acknowledged", action)
	}
}

// said is what a person was told last.
func (b *slackBubble) said() string {
	told := b.sim.Ephemerals()
	if len(told) == 0 {
		return ""
	}
	return told[len(told)-1].Text
}

// desk is a Desk with the rules of the real one for approvals; of the rest it notes
// what was asked for.
type desk struct {
	mu        sync.Mutex
	people    map[string]string // by account
	approvals map[string]soar.Approval
	calls     []string
	fail      error
	stored    func() // called when a vote is on disk, before Decide returns
}

func newDesk() *desk {
	return &desk{people: map[string]string{"U0ANN": "ann", "U0BEN": "ben"}, approvals: map[string]soar.Approval{}}
}

func (d *desk) Person(chat, account string) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name, ok := d.people[account]
	return name, ok && chat == "slack"
}

func (d *desk) Approval(_ context.Context, id string) (soar.Approval, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.approvals[id]
	if !ok {
		return a, fmt.Errorf("approval %q: %w", id, soar.ErrNotFound)
	}
	return a, nil
}

func (d *desk) Decide(_ context.Context, id string, v soar.Vote) (soar.Approval, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.approvals[id]
	switch {
	case d.fail != nil:
		return a, d.fail
	case !ok:
		return a, fmt.Errorf("approval %q: %w", id, soar.ErrNotFound)
	case a.State != soar.ApprovalWaiting:
		return a, fmt.Errorf("approval %s is %s", id, a.State)
	case slices.ContainsFunc(a.Votes, func(o soar.Vote) bool { return o.By == v.By }):
		return a, fmt.Errorf("%s has agreed already", v.By)
	}
	a.Votes = append(slices.Clone(a.Votes), v)
	switch {
	case !v.Agree:
		a.State = soar.ApprovalDenied
	case a.Agreed() >= a.Count:
		a.State = soar.ApprovalApproved
	}
	d.approvals[id] = a
	d.calls = append(d.calls, fmt.Sprintf("decide %s by %s: %v, via %s", id, v.By, v.Agree, v.Via))
	if d.stored != nil {
		d.stored()
	}
	return a, nil
}

func (d *desk) note(format string, args ...any) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return "", d.fail
	}
	call := fmt.Sprintf(format, args...)
	d.calls = append(d.calls, call)
	return call, nil
}

func (d *desk) Undo(_ context.Context, run soar.RunID, step, by, _ string) (string, error) {
	return d.note("undo %s %q by %s", run, step, by)
}

func (d *desk) Extend(_ context.Context, run soar.RunID, step string, until time.Time, by, _ string) (string, error) {
	return d.note("extend %s %q until %s by %s", run, step, until.UTC().Format(time.RFC3339), by)
}

func (d *desk) Resolve(_ context.Context, alert, verdict, by, _ string) (string, error) {
	return d.note("resolve %s %s by %s", alert, verdict, by)
}

func (d *desk) Silence(_ context.Context, sink, alert string, until time.Time, by, _ string) (string, error) {
	return d.note("silence %s in %s until %s by %s", alert, sink, until.UTC().Format(time.RFC3339), by)
}

func (d *desk) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.calls, "\n")
}
