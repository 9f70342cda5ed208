package sinksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	linkPath   = "/link"
	answerPath = "/actions/"

	answerUses = 5 // of one response_url
	answerFor  = 30 * time.Minute
	linksMax   = 10 // connections of one app
)

// socketMode is the side of Slack that clicks come from.
type socketMode struct {
	mu      sync.Mutex
	serial  int
	tickets map[string]bool // addresses that were not used yet
	links   []*slackLink    // those that said hello, the oldest first
	most    int             // connections at the same time
	opened  int
	waiting map[string]*envelope // not acknowledged
	sent    map[string]map[string]any
	clicks  map[string]*click // by the last part of their response_url
	told    []SlackEphemeral
	news    chan struct{} // closed when anything of this changes
}

func newSocketMode() socketMode {
	return socketMode{tickets: map[string]bool{}, waiting: map[string]*envelope{}, sent: map[string]map[string]any{}, clicks: map[string]*click{}, news: make(chan struct{})}
}

func (m *socketMode) changed() {
	close(m.news)
	m.news = make(chan struct{})
}

// slackLink is one connection.
type slackLink struct {
	conn   *websocket.Conn
	mu     sync.Mutex // held while a frame is written
	frozen chan struct{}
	once   sync.Once
}

func (l *slackLink) send(v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.frozen:
		return nil // as into a cable that was cut
	default:
		return l.conn.WriteJSON(v)
	}
}

type envelope struct {
	frame map[string]any
	timer *time.Timer
	sends int
	acked chan struct{}
}

// click is what an answer to it is about.
type click struct {
	user, ts string
	uses     int
	until    time.Time
}

// SlackEphemeral is a message that only one person sees.
type SlackEphemeral struct{ User, Text string }

// openSocket is apps.connections.open.
func (s *Slack) openSocket(w http.ResponseWriter, r *http.Request) {
	s.socket.mu.Lock()
	defer s.socket.mu.Unlock()
	if len(s.socket.links) >= linksMax {
		refuse(w, "too_many_websockets")
		return
	}
	s.socket.serial++
	ticket := fmt.Sprintf("ticket-%d", s.socket.serial)
	s.socket.tickets[ticket] = true
	scheme := "ws"
	if r.TLS != nil {
		scheme = "wss"
	}
	accept(w, map[string]any{"url": scheme + "://" + r.Host + linkPath + "?ticket=" + ticket})
}

// link is the WebSocket.
func (s *Slack) link(w http.ResponseWriter, r *http.Request) {
	s.socket.mu.Lock()
	ticket := r.URL.Query().Get("ticket")
	known := s.socket.tickets[ticket]
	delete(s.socket.tickets, ticket) // good for one use
	s.socket.mu.Unlock()
	if !known {
		http.Error(w, "no such ticket", http.StatusForbidden)
		return
	}
	conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	l := &slackLink{conn: conn, frozen: make(chan struct{})}
	conn.SetPingHandler(func(data string) error {
		select {
		case <-l.frozen:
			return nil
		default:
			return conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		}
	})
	hello := map[string]any{
		"type": "hello", "num_connections": 1, "connection_info": map[string]any{"app_id": "A000000001"},
		"debug_info": map[string]any{"host": "applink-1", "approximate_connection_time": 18060},
	}
	if err := l.send(hello); err != nil {
		_ = conn.Close()
		return
	}
	s.socket.mu.Lock()
	s.socket.links = append(s.socket.links, l)
	s.socket.opened++
	s.socket.most = max(s.socket.most, len(s.socket.links))
	for id := range s.socket.waiting {
		s.socket.again(s.o.Redeliver, id)
	}
	s.socket.changed()
	s.socket.mu.Unlock()
	s.hear(l)
	s.socket.mu.Lock()
	s.socket.links = slices.DeleteFunc(s.socket.links, func(o *slackLink) bool { return o == l })
	s.socket.changed()
	s.socket.mu.Unlock()
	_ = conn.Close()
}

// hear reads acknowledgements until the connection ends.
func (s *Slack) hear(l *slackLink) {
	for {
		_, data, err := l.conn.ReadMessage()
		if err != nil {
			return
		}
		select {
		case <-l.frozen:
			continue
		default:
		}
		var ack struct {
			ID string `json:"envelope_id"`
		}
		if err := json.Unmarshal(data, &ack); err != nil {
			return
		}
		s.socket.mu.Lock()
		if e := s.socket.waiting[ack.ID]; e != nil {
			e.timer.Stop()
			delete(s.socket.waiting, ack.ID)
			close(e.acked)
			s.socket.changed()
		}
		s.socket.mu.Unlock()
	}
}

// again sends an envelope over the newest connection, and later once more if nobody
// acknowledges it. The caller holds mu.
func (m *socketMode) again(redeliver time.Duration, id string) {
	e := m.waiting[id]
	if e == nil {
		return
	}
	if e.timer != nil {
		e.timer.Stop()
	}
	e.timer = time.AfterFunc(redeliver, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.again(redeliver, id)
	})
	if len(m.links) == 0 {
		return
	}
	l := m.links[len(m.links)-1]
	e.frame["retry_attempt"] = e.sends
	e.sends++
	_ = l.send(e.frame) // a connection that broke: the next one gets it
}

// SlackPressed is a click on its way.
type SlackPressed struct {
	// Envelope is its id.
	Envelope string
	// Acked is closed when it was acknowledged.
	Acked <-chan struct{}
}

// Press clicks a button, or chooses an option, as a person does; option is empty for a
// button. The action is that of a message as it stands. It fails when there is no such
// button.
func (s *Slack) Press(user, ts, action, option string) (SlackPressed, error) {
	s.mu.Lock()
	m := s.find(ts)
	var blocks []block
	channel := ""
	if m != nil {
		blocks, _ = readBlocks(m.Blocks) // it was checked when it was posted
		channel = m.Channel
	}
	s.mu.Unlock()
	for _, b := range blocks {
		for i := range b.Elements {
			e := &b.Elements[i]
			if b.Type != "actions" || e.ActionID != action {
				continue
			}
			act := map[string]any{"type": e.Type, "action_id": action, "block_id": b.BlockID}
			if e.Type == "button" {
				act["value"] = e.Value
				return s.press(user, channel, ts, act), nil
			}
			for _, o := range e.Options {
				if o.Text.Text == option {
					act["selected_option"] = map[string]any{"text": o.Text, "value": o.Value}
					return s.press(user, channel, ts, act), nil
				}
			}
		}
	}
	return SlackPressed{}, fmt.Errorf("message %s has no button %s %s", ts, action, option)
}

// Forge is a click on a button that no message has, as somebody could make who has a token
// of the app.
func (s *Slack) Forge(user, action, value string) SlackPressed {
	return s.press(user, "C000000001", "1.000001", map[string]any{"type": "button", "action_id": action, "value": value})
}

func (s *Slack) press(user, channel, ts string, act map[string]any) SlackPressed {
	now := s.o.Now()
	s.socket.mu.Lock()
	defer s.socket.mu.Unlock()
	s.socket.serial++
	n := s.socket.serial
	act["action_ts"] = fmt.Sprintf("%d.%06d", now.Unix(), n)
	answer := fmt.Sprintf("answer-%d", n)
	s.socket.clicks[answer] = &click{user: user, ts: ts, until: now.Add(answerFor)}
	id := fmt.Sprintf("env-%d", n)
	e := &envelope{acked: make(chan struct{}), frame: map[string]any{
		"type": "interactive", "envelope_id": id, "accepts_response_payload": false,
		"payload": map[string]any{
			"type": "block_actions", "user": map[string]any{"id": user, "username": strings.ToLower(user), "team_id": "T000000001"},
			"channel": map[string]any{"id": channel}, "container": map[string]any{"message_ts": ts}, "message": map[string]any{"ts": ts},
			"response_url": s.base() + answerPath + answer, "trigger_id": "trigger", "actions": []any{act},
		},
	}}
	s.socket.waiting[id], s.socket.sent[id] = e, e.frame
	s.socket.again(s.o.Redeliver, id)
	return SlackPressed{id, e.acked}
}

// Repeat sends the envelope of a click once more although it was acknowledged, as Slack
// does when the acknowledgement is lost on its side.
func (s *Slack) Repeat(p SlackPressed) (SlackPressed, error) {
	s.socket.mu.Lock()
	defer s.socket.mu.Unlock()
	frame := s.socket.sent[p.Envelope]
	if frame == nil {
		return SlackPressed{}, fmt.Errorf("there was no envelope %s", p.Envelope)
	}
	e := &envelope{acked: make(chan struct{}), frame: frame, sends: 1}
	s.socket.waiting[p.Envelope] = e
	s.socket.again(s.o.Redeliver, p.Envelope)
	return SlackPressed{p.Envelope, e.acked}, nil
}

// base is the address of the workspace, as those see it who are connected.
func (s *Slack) base() string {
	if s.o.URL != "" {
		return s.o.URL
	}
	return "https://hooks.slack.com"
}

// answer takes what is posted to a response_url.
func (s *Slack) answer(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Text            string          `json:"text"`
		Blocks          json.RawMessage `json:"blocks"`
		ResponseType    string          `json:"response_type"`
		ReplaceOriginal bool            `json:"replace_original"`
	}
	data, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		send(w, http.StatusBadRequest, nil, "invalid_payload")
		return
	}
	if name, _ := checkMessage(m.Text, m.Blocks); name != "" {
		send(w, http.StatusBadRequest, nil, name)
		return
	}
	s.socket.mu.Lock()
	defer s.socket.mu.Unlock()
	c := s.socket.clicks[strings.TrimPrefix(r.URL.Path, answerPath)]
	switch {
	case c == nil:
		send(w, http.StatusNotFound, nil, "no_service")
		return
	case c.uses >= answerUses || s.o.Now().After(c.until):
		send(w, http.StatusNotFound, nil, "expired_url")
		return
	}
	c.uses++
	if m.ReplaceOriginal {
		s.mu.Lock()
		if one := s.find(c.ts); one != nil {
			one.Text, one.Blocks = m.Text, m.Blocks
			one.Updates++
		}
		s.mu.Unlock()
	} else if m.ResponseType == "ephemeral" {
		s.socket.told = append(s.socket.told, SlackEphemeral{c.user, m.Text})
	}
	s.socket.changed()
	accept(w, map[string]any{})
}

// Ephemerals are what single people were told, in order.
func (s *Slack) Ephemerals() []SlackEphemeral {
	s.socket.mu.Lock()
	defer s.socket.mu.Unlock()
	return slices.Clone(s.socket.told)
}

// SlackSockets counts connections of Socket Mode.
type SlackSockets struct {
	Open   int // now
	Most   int // at the same time
	Opened int // in all
}

// Sockets counts connections, and returns a channel that is closed when something about
// them, or about clicks, changes.
func (s *Slack) Sockets() (SlackSockets, <-chan struct{}) {
	s.socket.mu.Lock()
	defer s.socket.mu.Unlock()
	return SlackSockets{len(s.socket.links), s.socket.most, s.socket.opened}, s.socket.news
}

// Disconnect asks the newest connection to go: warning, refresh_requested or
// link_disabled. Like Slack, it leaves the closing to the other side.
func (s *Slack) Disconnect(reason string) error {
	l := s.newest()
	if l == nil {
		return errors.New("nobody is connected")
	}
	return l.send(map[string]any{"type": "disconnect", "reason": reason, "debug_info": map[string]any{"host": "applink-1"}})
}

// Cut breaks all connections.
func (s *Slack) Cut() {
	s.socket.mu.Lock()
	defer s.socket.mu.Unlock()
	for _, l := range s.socket.links {
		_ = l.conn.Close() // it is what was asked for
	}
}

// Freeze lets the newest connection look alive and be dead: nothing comes any more, and
// nothing is answered.
func (s *Slack) Freeze() {
	if l := s.newest(); l != nil {
		l.once.Do(func() { close(l.frozen) })
	}
}

func (s *Slack) newest() *slackLink {
	s.socket.mu.Lock()
	defer s.socket.mu.Unlock()
	if n := len(s.socket.links); n > 0 {
		return s.socket.links[n-1]
	}
	return nil
}
