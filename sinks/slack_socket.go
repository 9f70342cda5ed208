package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
)

// Socket Mode (https://docs.slack.dev/apis/events-api/using-socket-mode): erbridge opens
// a WebSocket, and Slack tells of clicks through it. An envelope is acknowledged when
// what it asks for is on disk; Slack sends again what nobody acknowledged within three
// seconds, over another connection if need be. slack-go has a client for this that
// acknowledges on its own, and has no second connection while it changes over.

const (
	// socketPing is how often we ask whether the other side is there, and socketSilence
	// how long a socket may be silent before it counts as dead. Slack's own pings come
	// more often than that.
	socketPing    = 10 * time.Second
	socketSilence = 35 * time.Second
	// socketHello bounds the wait for the first frame.
	socketHello = 10 * time.Second
	// socketGrace is how long clicks under way may take when their connection goes.
	socketGrace = 5 * time.Second
	// pressFor bounds what one click does. Slack waits 3 s and then sends it again; that
	// one waits for the first.
	pressFor = 20 * time.Second
	// sayFor bounds how long it takes to tell the one who clicked.
	sayFor = 20 * time.Second
	// socketSlots is how many clicks are worked on at the same time.
	socketSlots = 8
	// socketFrame bounds one frame; a message with all its blocks is in it.
	socketFrame = 1 << 20
	// socketTries is how often in a row a connection may fail before a person is told.
	socketTries = 10
	// heardFor is how long an envelope is remembered, longer than Slack repeats it.
	heardFor = 10 * time.Minute
)

// errRetired is how a connection ends whose place another one has taken.
var errRetired = errors.New("another connection has taken its place")

// slackEars listen for clicks.
type slackEars struct {
	sink  *slackSink
	log   *slog.Logger
	heard slackHeard
}

func newSlackEars(s *slackSink, log *slog.Logger) *slackEars {
	return &slackEars{sink: s, log: log, heard: slackHeard{known: map[string]*heard{}}}
}

// Run holds one connection until ctx ends, and a second one only while it changes from
// one to the next. It returns an error that wraps ErrConfig when Slack refuses the app
// token or Socket Mode is off, and another when there is no connection for long.
func (e *slackEars) Run(ctx context.Context) error {
	var old *slackWire // still read from, until the next one is there
	defer func() {
		if old != nil {
			old.retire()
		}
	}()
	for failures := 0; ctx.Err() == nil; {
		w, err := e.connect(ctx)
		switch {
		case ctx.Err() != nil:
			if w != nil {
				w.retire()
			}
			return nil
		case errors.Is(err, ErrConfig):
			return fmt.Errorf("slack: listen for clicks: %w", err)
		case err != nil:
			if failures++; failures >= socketTries {
				return fmt.Errorf("slack: listen for clicks: %d tries in a row: %w", failures, err)
			}
			wait := doubled(time.Second, time.Minute, failures)
			wait = wait/2 + rand.N(wait/2+1)
			if asked, ok := errors.AsType[*RetryAfter](err); ok {
				wait = max(wait, min(asked.Wait, 10*time.Minute))
			}
			e.log.Warn("no connection for clicks, will try again", "wait", wait, "err", err)
			if !idleFor(ctx, wait) {
				return nil
			}
			continue
		}
		if old != nil {
			old.retire()
			old = nil
		}
		e.log.Info("listening for clicks")
		began := time.Now()
		select {
		case <-ctx.Done():
			w.retire()
			return nil
		case <-w.refresh:
			e.log.Info("slack asks for another connection for clicks")
			old = w
			if time.Since(began) > time.Minute {
				failures = 0
			} else if failures++; !idleFor(ctx, rand.N(doubled(time.Second, time.Minute, failures))) {
				return nil // old takes clicks while it waits
			}
		case <-w.done:
			w.retire()
			if errors.Is(w.err, ErrConfig) {
				return fmt.Errorf("slack: listen for clicks: %w", w.err)
			}
			e.log.Warn("the connection for clicks ended, will open another", "err", w.err)
			if time.Since(began) > time.Minute {
				failures = 0
			} else if failures++; failures >= socketTries {
				return fmt.Errorf("slack: listen for clicks: %d connections in a row ended at once: %w", failures, w.err)
			}
			if !idleFor(ctx, rand.N(doubled(time.Second, time.Minute, max(failures, 1)))) {
				return nil
			}
		}
	}
	return nil
}

// idleFor waits; false when ctx ended.
func idleFor(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// connect opens a connection and waits until Slack says hello.
func (e *slackEars) connect(ctx context.Context) (*slackWire, error) {
	address, err := e.sink.openSocket(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := e.sink.dialSocket(ctx, address)
	if err != nil {
		return nil, err
	}
	w := newSlackWire(conn)
	go w.listen(ctx, e)
	select {
	case <-w.hello:
		return w, nil
	case <-w.done:
		w.retire()
		return nil, w.err
	case <-ctx.Done():
		w.retire()
		return nil, context.Cause(ctx)
	case <-time.After(socketHello):
		w.retire()
		return nil, fmt.Errorf("no hello within %s", socketHello)
	}
}

// openSocket asks for the address of a connection, which is good for one use.
func (s *slackAPI) openSocket(ctx context.Context) (string, error) {
	client, _, err := s.client(s.settings.AppToken)
	if err != nil {
		return "", fmt.Errorf("app_%w", err)
	}
	_, address, err := client.StartSocketModeContext(ctx)
	if err == nil {
		return address, nil
	}
	said, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok {
		return "", fmt.Errorf("apps.connections.open: %w", err)
	}
	name := oneLine(said.Err, 100)
	if refusedSettings[name] {
		detail := name
		if advice := socketAdvice[name]; advice != "" {
			detail += " (" + advice + ")"
		}
		return "", fmt.Errorf("%w: app_token: apps.connections.open: %s", ErrConfig, detail)
	}
	return "", fmt.Errorf("apps.connections.open: %s", name)
}

// socketAdvice is slackAdvice for the app token.
var socketAdvice = map[string]string{
	"invalid_auth":           "the app token is wrong: make one, xapp-..., under Basic Information, App-Level Tokens",
	"not_authed":             "no token arrived: the file or variable of app_token is empty",
	"token_revoked":          "the app token was withdrawn: make another one under App-Level Tokens",
	"missing_scope":          "the app token needs the scope connections:write: make another one with it",
	"not_allowed_token_type": "app_token takes an app-level token, xapp-..., and not the bot token",
	"forbidden_team":         "the app may not be used in this workspace: ask its administrators",
	"account_inactive":       "the app was removed from the workspace: install it again",
}

// dialSocket opens the WebSocket at an address, which is a secret.
func (s *slackAPI) dialSocket(ctx context.Context, address string) (*websocket.Conn, error) {
	scheme, _, _ := strings.Cut(address, "://")
	if scheme != "wss" && (scheme != "ws" || strings.HasPrefix(s.settings.APIURL, "https:")) {
		return nil, fmt.Errorf("the address of the socket has the scheme %q, expected wss", oneLine(scheme, 20))
	}
	config, err := s.settings.config()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, HandshakeTimeout: s.settings.Timeout, NetDialContext: s.dial}
	conn, resp, err := dialer.DialContext(ctx, address, http.Header{"User-Agent": {s.agent}})
	if err != nil {
		if resp != nil {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("open the socket: status %d", resp.StatusCode)
		}
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // its text has the whole address
		}
		return nil, fmt.Errorf("open the socket: %w", judgeDial(err))
	}
	return conn, nil
}

// slackEnvelope is one frame of Slack.
type slackEnvelope struct {
	Type    string          `json:"type"`
	ID      string          `json:"envelope_id"`
	Reason  string          `json:"reason"` // of disconnect
	Payload json.RawMessage `json:"payload"`
	Debug   struct {
		Seconds int `json:"approximate_connection_time"`
	} `json:"debug_info"` // of hello
}

// slackWire is one connection.
type slackWire struct {
	conn    *websocket.Conn
	hello   chan struct{} // closed by the first hello
	refresh chan struct{} // closed when another connection is to take its place
	done    chan struct{} // closed when nothing is read any more
	err     error         // why; valid after done
	slots   chan struct{} // one for each click under way
	closing chan struct{} // closed when no further click is taken

	mu sync.Mutex // held while a frame is written
}

func newSlackWire(conn *websocket.Conn) *slackWire {
	conn.SetReadLimit(socketFrame)
	return &slackWire{
		conn: conn, hello: make(chan struct{}), refresh: make(chan struct{}), done: make(chan struct{}), slots: make(chan struct{}, socketSlots),
		closing: make(chan struct{}),
	}
}

// listen reads until the connection ends. Its clicks are worked on beside it, so that
// one which waits for the disk keeps nothing else up.
func (w *slackWire) listen(ctx context.Context, e *slackEars) {
	defer close(w.done)
	alive := func() { _ = w.conn.SetReadDeadline(time.Now().Add(socketSilence)) } // fails only on a closed connection, which reading tells
	w.conn.SetPingHandler(func(data string) error {
		alive()
		err := w.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(socketPing))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	w.conn.SetPongHandler(func(string) error { alive(); return nil })
	quiet := make(chan struct{})
	defer close(quiet)
	go w.ping(quiet)

	greeted, asked := false, false
	var overdue *time.Timer
	for {
		alive()
		_, data, err := w.conn.ReadMessage()
		if err != nil {
			w.err = fmt.Errorf("read: %w", err)
			return
		}
		var env slackEnvelope
		if err := json.Unmarshal(data, &env); err != nil {
			e.log.Warn("slack sent a frame that cannot be read", "err", err)
			continue
		}
		switch {
		case env.Type == "hello" && !greeted:
			greeted = true
			close(w.hello)
			if seconds := env.Debug.Seconds; seconds > 0 {
				// Slack replaces its connections by then. One that nobody replaced has been
				// forgotten over there, however alive it looks.
				overdue = time.AfterFunc(time.Duration(seconds)*time.Second+10*time.Minute, func() { _ = w.conn.Close() })
				defer overdue.Stop()
			}
		case env.Type == "disconnect" && env.Reason == "link_disabled":
			w.err = fmt.Errorf("%w: Socket Mode is turned off: turn it on for the app at https://api.slack.com/apps, Socket Mode", ErrConfig)
			return
		case env.Type == "disconnect" && !asked:
			asked = true
			close(w.refresh)
		case env.ID != "":
			select {
			case w.slots <- struct{}{}:
			case <-w.closing:
				w.err = errRetired
				return
			}
			go func() {
				defer func() { <-w.slots }()
				e.take(ctx, w, &env)
			}()
		}
	}
}

// ping asks now and then whether the other side is there. The answer is read by listen.
func (w *slackWire) ping(quiet <-chan struct{}) {
	tick := time.NewTicker(socketPing)
	defer tick.Stop()
	for {
		select {
		case <-quiet:
			return
		case <-tick.C:
			if err := w.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(socketPing)); err != nil {
				return // reading tells why
			}
		}
	}
}

// retire ends a connection: clicks under way are acknowledged first.
func (w *slackWire) retire() {
	late := time.NewTimer(socketGrace)
	defer late.Stop()
wait:
	for range cap(w.slots) {
		select {
		case w.slots <- struct{}{}:
		case <-late.C:
			break wait
		}
	}
	close(w.closing)
	_ = w.conn.Close() // nothing is lost: what is not acknowledged comes again
	<-w.done
}

// acknowledge tells Slack that an envelope need not come again.
func (w *slackWire) acknowledge(id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.conn.SetWriteDeadline(time.Now().Add(socketPing)); err != nil {
		return err
	}
	return w.conn.WriteJSON(map[string]string{"envelope_id": id})
}

// take does what an envelope asks for, acknowledges it, and answers the one who
// clicked, in this order: a crash in between lets Slack send it again, and what is on
// disk already is not done twice.
func (e *slackEars) take(ctx context.Context, w *slackWire, env *slackEnvelope) {
	// What was begun is ended also while erbridge stops.
	base := context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(base, pressFor)
	defer cancel()
	acknowledge := func() {
		if err := w.acknowledge(env.ID); err != nil {
			e.log.Warn("a click was not acknowledged, slack will send it again", "err", err)
		}
	}
	var c slackClick
	if env.Type != "interactive" || json.Unmarshal(env.Payload, &c) != nil || c.Type != "block_actions" {
		acknowledge() // nothing that was asked for
		return
	}
	first, mine := e.heard.begin(time.Now(), env.ID, c.key())
	if !mine {
		select {
		case <-first.done:
			acknowledge()
		case <-ctx.Done():
		}
		return
	}
	answer := e.press(ctx, &c)
	close(first.done)
	acknowledge()
	telling, told := context.WithTimeout(base, sayFor) // of its own: that it took too long has to be said as well
	defer told()
	if err := e.sink.say(telling, &c, answer); err != nil {
		e.log.Warn("who clicked was not told what became of it", "err", err)
	}
}

// press keeps a mistake of ours in one click from ending the process.
func (e *slackEars) press(ctx context.Context, c *slackClick) (answer slackAnswer) {
	defer func() {
		if value := recover(); value != nil {
			e.log.Error("a click could not be handled", "panic", value, "stack", string(debug.Stack()))
			answer = slackAnswer{text: "Nothing may have been done: erbridge made a mistake, its log has it. Look at erbridge approvals list and erbridge runs list."}
		}
	}()
	return e.sink.press(ctx, c)
}

// slackHeard remembers which clicks came in, because Slack tells of some again.
type slackHeard struct {
	mu    sync.Mutex
	known map[string]*heard // by envelope, and by click
}

type heard struct {
	at   time.Time
	done chan struct{} // closed when what it asks for is on disk
}

// begin reports whether a click is new. Of one that is not, it returns the first.
func (h *slackHeard) begin(now time.Time, keys ...string) (one *heard, mine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, old := range h.known {
		if now.Sub(old.at) > heardFor {
			delete(h.known, key)
		}
	}
	for _, key := range keys {
		if old := h.known[key]; old != nil && key != "" {
			return old, false
		}
	}
	one = &heard{at: now, done: make(chan struct{})}
	for _, key := range keys {
		if key != "" {
			h.known[key] = one
		}
	}
	return one, true
}
