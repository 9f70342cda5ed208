package sinksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// SlackOptions say how a simulated workspace behaves.
type SlackOptions struct {
	// Token is the bot token that is accepted; empty means xoxb-demo.
	Token string
	// AppToken is the app-level token for Socket Mode; empty means xapp-demo.
	AppToken string
	// Scopes are those of the bot token; nil means chat:write and channels:read.
	Scopes []string
	// Outside are the ids of public channels that the bot is no member of.
	Outside []string
	// URL is where the workspace is reached, for the addresses at which clicks are
	// answered; empty means that of Slack.
	URL string
	// Redeliver is how soon an envelope comes again that nobody acknowledged; 0 means 3s.
	Redeliver time.Duration
	// Channels are names and their ids; nil means #soc as C000000001.
	Channels map[string]string
	// Interval refuses messages that come faster to one channel, with 429; 0 does not.
	Interval time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// OnMessage is called for every message that is posted or updated.
	OnMessage func(SlackMessage)
}

// Slack is a workspace that takes chat.postMessage, chat.update, chat.delete, auth.test,
// conversations.info, apps.connections.open with its WebSocket, the answers to clicks and
// an incoming webhook at HookPath, with Slack's own limits and errors. It is an
// http.Handler; the Web API is under /api/.
type Slack struct {
	o SlackOptions

	socket socketMode

	mu       sync.Mutex
	messages []SlackMessage
	last     map[string]time.Time
	serial   int
	answers  []Answer
	calls    map[string]int
}

// SlackMessage is a message as people would see it.
type SlackMessage struct {
	Channel   string
	TS        string
	ThreadTS  string // of the message it replies to
	Text      string
	Blocks    json.RawMessage
	Metadata  json.RawMessage
	Updates   int
	Broadcast bool // a reply that is shown in the channel as well
	ByWebhook bool
}

// HookPath is where the incoming webhook listens.
const HookPath = "/services/T00000000/B00000000/demoHookSecret00000000"

// NewSlack makes a workspace.
func NewSlack(o SlackOptions) *Slack {
	if o.Token == "" {
		o.Token = "xoxb-demo"
	}
	if o.Channels == nil {
		o.Channels = map[string]string{"#soc": "C000000001"}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AppToken == "" {
		o.AppToken = "xapp-demo"
	}
	if o.Scopes == nil {
		o.Scopes = []string{"chat:write", "channels:read"}
	}
	if o.Redeliver == 0 {
		o.Redeliver = 3 * time.Second
	}
	return &Slack{o: o, last: map[string]time.Time{}, calls: map[string]int{}, socket: newSocketMode()}
}

// Messages are what stands in the channels, in the order of posting.
func (s *Slack) Messages() []SlackMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Calls counts calls by method, refused ones too.
func (s *Slack) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Answer is given to the next call instead of the regular answer.
type Answer struct {
	// Error is Slack's name of an error, sent with status 200.
	Error string
	// Status, Header and Body are sent as they are when Status is set.
	Status int
	Header http.Header
	Body   string
	// After does the call first and loses only the answer: the connection breaks.
	After bool
	// Pass lets so many calls through before the next answer of the queue.
	Pass int
}

// Next queues answers for the next calls.
func (s *Slack) Next(answers ...Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, answers...)
}

// Delete removes a message, as a person would.
func (s *Slack) Delete(ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m SlackMessage) bool { return m.TS == ts })
}

// ServeHTTP implements http.Handler.
func (s *Slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	switch {
	case r.URL.Path == HookPath:
		method = "webhook"
	case strings.HasPrefix(r.URL.Path, answerPath):
		method = "response_url"
	case r.URL.Path == linkPath:
		s.link(w, r)
		return
	}
	s.mu.Lock()
	s.calls[method]++
	var planned *Answer
	switch {
	case len(s.answers) == 0:
	case s.answers[0].Pass > 1:
		s.answers[0].Pass--
	case s.answers[0].Pass == 1:
		s.answers = s.answers[1:]
	default:
		planned = &s.answers[0]
		s.answers = s.answers[1:]
	}
	s.mu.Unlock()
	if planned != nil && !planned.After {
		if planned.Status != 0 {
			send(w, planned.Status, planned.Header, planned.Body)
		} else {
			refuse(w, planned.Error)
		}
		return
	}
	if planned != nil {
		// Taken, and the connection breaks before the answer.
		s.serve(discard{}, r, method)
		panic(http.ErrAbortHandler)
	}
	s.serve(w, r, method)
}

func (s *Slack) serve(w http.ResponseWriter, r *http.Request, method string) {
	if r.Method != http.MethodPost {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	switch method {
	case "webhook":
		s.hook(w, r)
		return
	case "response_url":
		s.answer(w, r)
		return
	}
	call, err := readCall(r)
	if err != nil {
		refuse(w, "invalid_form_data")
		return
	}
	needed := map[string]string{"chat.postMessage": "chat:write", "chat.update": "chat:write", "chat.delete": "chat:write", "conversations.info": "channels:read"}
	token, app := call["token"], method == "apps.connections.open"
	switch {
	case token == "":
		refuse(w, "not_authed")
		return
	case app && token == s.o.Token, !app && token == s.o.AppToken:
		refuse(w, "not_allowed_token_type")
		return
	case app && token != s.o.AppToken, !app && token != s.o.Token:
		refuse(w, "invalid_auth")
		return
	case needed[method] != "" && !slices.Contains(s.o.Scopes, needed[method]):
		writeJSON(w, map[string]any{"ok": false, "error": "missing_scope", "needed": needed[method], "provided": strings.Join(s.o.Scopes, ",")})
		return
	}
	w.Header().Set("X-OAuth-Scopes", strings.Join(s.o.Scopes, ","))
	switch method {
	case "auth.test":
		accept(w, map[string]any{"team": "Demo", "team_id": "T000000001", "user": "erbridge", "user_id": "U00000BOT", "bot_id": "B000000001", "url": "https://demo.slack.com/"})
	case "chat.postMessage":
		s.post(w, call)
	case "chat.update":
		s.update(w, call)
	case "chat.delete":
		s.remove(w, call)
	case "conversations.info":
		s.info(w, call)
	case "apps.connections.open":
		s.openSocket(w, r)
	default:
		refuse(w, "unknown_method")
	}
}

// readCall reads a call as form or JSON, with the token from either place.
func readCall(r *http.Request) (map[string]string, error) {
	call := map[string]string{}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var fields map[string]any
		if err := json.NewDecoder(r.Body).Decode(&fields); err != nil && !errors.Is(err, io.EOF) { // no body is no arguments
			return nil, err
		}
		for k, v := range fields {
			if text, ok := v.(string); ok {
				call[k] = text
				continue
			}
			text, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			call[k] = string(text)
		}
	} else {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		for k := range r.PostForm {
			call[k] = r.PostForm.Get(k)
		}
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		call["token"] = token
	}
	return call, nil
}

func (s *Slack) channel(name string) (string, bool) {
	for known, id := range s.o.Channels {
		if name == id || name == known || "#"+name == known {
			return id, true
		}
	}
	return "", false
}

func (s *Slack) post(w http.ResponseWriter, call map[string]string) {
	id, ok := s.channel(call["channel"])
	if !ok {
		refuse(w, "channel_not_found")
		return
	}
	if slices.Contains(s.o.Outside, id) && !slices.Contains(s.o.Scopes, "chat:write.public") {
		refuse(w, "not_in_channel")
		return
	}
	m := SlackMessage{
		Channel: id, ThreadTS: call["thread_ts"], Text: call["text"], Blocks: []byte(call["blocks"]), Metadata: []byte(call["metadata"]),
		Broadcast: call["reply_broadcast"] == "true",
	}
	if name, detail := checkMessage(m.Text, m.Blocks); name != "" {
		refuse(w, name, detail)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.ThreadTS != "" && s.find(m.ThreadTS) == nil {
		refuse(w, "thread_not_found")
		return
	}
	if !s.take(w, id) {
		return
	}
	m.TS = s.add(m)
	accept(w, map[string]any{"channel": id, "ts": m.TS, "message": map[string]any{"text": m.Text, "ts": m.TS, "thread_ts": m.ThreadTS}})
}

func (s *Slack) update(w http.ResponseWriter, call map[string]string) {
	blocks := json.RawMessage(call["blocks"])
	if name, detail := checkMessage(call["text"], blocks); name != "" {
		refuse(w, name, detail)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.find(call["ts"])
	if m == nil || m.Channel != call["channel"] { // chat.update takes no channel name
		refuse(w, "message_not_found")
		return
	}
	m.Text, m.Blocks = call["text"], blocks
	m.Updates++
	if s.o.OnMessage != nil {
		s.o.OnMessage(*m)
	}
	accept(w, map[string]any{"channel": m.Channel, "ts": m.TS, "text": m.Text})
}

func (s *Slack) remove(w http.ResponseWriter, call map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.find(call["ts"])
	if m == nil || m.Channel != call["channel"] {
		refuse(w, "message_not_found")
		return
	}
	ts, channel := m.TS, m.Channel
	s.messages = slices.DeleteFunc(s.messages, func(m SlackMessage) bool { return m.TS == ts })
	accept(w, map[string]any{"channel": channel, "ts": ts})
}

func (s *Slack) info(w http.ResponseWriter, call map[string]string) {
	id := call["channel"] // takes no name
	for name, known := range s.o.Channels {
		if known == id {
			accept(w, map[string]any{"channel": map[string]any{"id": id, "name": strings.TrimPrefix(name, "#"), "is_member": !slices.Contains(s.o.Outside, id)}})
			return
		}
	}
	refuse(w, "channel_not_found")
}

func (s *Slack) hook(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Text   string          `json:"text"`
		Blocks json.RawMessage `json:"blocks"`
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		send(w, http.StatusBadRequest, nil, "invalid_payload")
		return
	}
	if name, _ := checkMessage(m.Text, m.Blocks); name != "" {
		send(w, http.StatusBadRequest, nil, name)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.take(w, "webhook") {
		return
	}
	s.add(SlackMessage{Channel: "webhook", Text: m.Text, Blocks: m.Blocks, ByWebhook: true})
	send(w, http.StatusOK, http.Header{"Content-Type": {"text/html"}}, "ok")
}

// take applies the limit of one message for each channel and interval.
func (s *Slack) take(w http.ResponseWriter, channel string) bool {
	now := s.o.Now()
	if wait := s.o.Interval - now.Sub(s.last[channel]); s.o.Interval > 0 && wait > 0 {
		seconds := int((wait + time.Second - 1) / time.Second)
		send(w, http.StatusTooManyRequests, http.Header{"Retry-After": {fmt.Sprint(seconds)}}, `{"ok":false,"error":"ratelimited"}`)
		return false
	}
	s.last[channel] = now
	return true
}

func (s *Slack) find(ts string) *SlackMessage {
	for i := range s.messages {
		if s.messages[i].TS == ts {
			return &s.messages[i]
		}
	}
	return nil
}

func (s *Slack) add(m SlackMessage) string {
	s.serial++
	m.TS = fmt.Sprintf("%d.%06d", s.o.Now().Unix(), s.serial)
	s.messages = append(s.messages, m)
	if s.o.OnMessage != nil {
		s.o.OnMessage(m)
	}
	return m.TS
}

func accept(w http.ResponseWriter, fields map[string]any) {
	fields["ok"] = true
	writeJSON(w, fields)
}

func refuse(w http.ResponseWriter, name string, details ...string) {
	answer := map[string]any{"ok": false, "error": name}
	if len(details) > 0 && details[0] != "" {
		answer["response_metadata"] = map[string]any{"messages": details}
	}
	writeJSON(w, answer)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // the client has gone, which is its own business
}

// send answers with something that is not JSON of the Web API.
func send(w http.ResponseWriter, status int, header http.Header, body string) {
	for k, v := range header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// discard is where the answer of a call goes whose connection breaks.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
