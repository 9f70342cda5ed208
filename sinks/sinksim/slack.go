package sinksim

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
)

// SlackOptions say how a simulated workspace behaves.
type SlackOptions struct {
	// Token is the bot token that is accepted; empty means xoxb-demo.
	Token string
	// Channels are names and their ids; nil means #soc as C000000001.
	Channels map[string]string
	// Interval refuses messages that come faster to one channel, with 429; 0 does not.
	Interval time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// OnMessage is called for every message that is posted or updated.
	OnMessage func(SlackMessage)
}

// Slack is a workspace that takes chat.postMessage, chat.update, auth.test and an
// incoming webhook at HookPath, with Slack's own limits and errors. It is an
// http.Handler; the Web API is under /api/.
type Slack struct {
	o SlackOptions

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
	return &Slack{o: o, last: map[string]time.Time{}, calls: map[string]int{}}
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
	if r.URL.Path == HookPath {
		method = "webhook"
	}
	s.mu.Lock()
	s.calls[method]++
	var planned *Answer
	if len(s.answers) > 0 {
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
	if method == "webhook" {
		s.hook(w, r)
		return
	}
	call, err := readCall(r)
	if err != nil {
		refuse(w, "invalid_form_data")
		return
	}
	switch {
	case call["token"] == "":
		refuse(w, "not_authed")
	case call["token"] != s.o.Token:
		refuse(w, "invalid_auth")
	case method == "auth.test":
		accept(w, map[string]any{"team": "Demo", "user": "erbridge", "bot_id": "B000000001"})
	case method == "chat.postMessage":
		s.post(w, call)
	case method == "chat.update":
		s.update(w, call)
	default:
		refuse(w, "unknown_method")
	}
}

// readCall reads a call as form or JSON, with the token from either place.
func readCall(r *http.Request) (map[string]string, error) {
	call := map[string]string{}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var fields map[string]any
		if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
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
	m := SlackMessage{Channel: id, ThreadTS: call["thread_ts"], Text: call["text"], Blocks: []byte(call["blocks"]), Metadata: []byte(call["metadata"])}
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

// textObject is text in Block Kit.
type textObject struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// checkMessage applies the limits of Block Kit
// (https://docs.slack.dev/reference/block-kit/blocks). It returns Slack's name of
// the error and what is wrong.
func checkMessage(text string, rawBlocks json.RawMessage) (name, detail string) {
	var blocks []struct {
		Type     string       `json:"type"`
		BlockID  string       `json:"block_id"`
		Text     *textObject  `json:"text"`
		Fields   []textObject `json:"fields"`
		Elements []textObject `json:"elements"`
	}
	if len(rawBlocks) > 0 && string(rawBlocks) != "null" {
		if err := json.Unmarshal(rawBlocks, &blocks); err != nil {
			return "invalid_blocks_format", err.Error()
		}
	}
	if text == "" && len(blocks) == 0 {
		return "no_text", ""
	}
	if units(text) > 40_000 {
		return "msg_too_long", ""
	}
	if len(blocks) > 50 {
		return "invalid_blocks", "more than 50 blocks"
	}
	total, ids := 0, map[string]bool{}
	for i, b := range blocks {
		fault := func(format string, args ...any) (string, string) {
			return "invalid_blocks", fmt.Sprintf(format, args...) + fmt.Sprintf(" [json-pointer:/%d]", i)
		}
		if len(b.BlockID) > 255 || b.BlockID != "" && ids[b.BlockID] {
			return fault("block_id")
		}
		ids[b.BlockID] = true
		var texts []textObject
		limit := 3000
		switch b.Type {
		case "header":
			if b.Text == nil || b.Text.Type != "plain_text" {
				return fault("a header needs plain_text")
			}
			limit = 150
		case "section":
			if b.Text == nil && len(b.Fields) == 0 {
				return fault("a section needs text or fields")
			}
			if len(b.Fields) > 10 {
				return fault("more than 10 fields")
			}
			for _, f := range b.Fields {
				if n := units(f.Text); n < 1 || n > 2000 {
					return fault("a field has %d characters", n)
				}
			}
			texts = append(texts, b.Fields...)
		case "context":
			if n := len(b.Elements); n < 1 || n > 10 {
				return fault("%d elements", n)
			}
			texts = append(texts, b.Elements...)
		case "divider", "actions", "image":
		default:
			return fault("unsupported block type %q", b.Type)
		}
		if b.Text != nil {
			if n := units(b.Text.Text); n < 1 || n > limit {
				return fault("text has %d characters, the limit is %d", n, limit)
			}
			texts = append(texts, *b.Text)
		}
		for _, t := range texts {
			if t.Type != "plain_text" && t.Type != "mrkdwn" {
				return fault("text of type %q", t.Type)
			}
			total += units(t.Text)
		}
	}
	if total > 13_000 {
		return "msg_blocks_too_long", ""
	}
	return "", ""
}

func units(text string) int { return len(utf16.Encode([]rune(text))) }

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
