package sinksim

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Splunk is a Splunk HTTP Event Collector, with one indexer or several behind a
// load balancer. It is an http.Handler.
type Splunk struct {
	// Token is what senders must have.
	Token string
	// Indexes are those that the token may write to; nil allows all.
	Indexes []string
	// MaxBytes bounds a request after decompression; 0 is 1 MiB.
	MaxBytes int
	// Acks switches indexer acknowledgement on: requests need a channel, and what
	// they bring is on disk only when it was asked for often enough.
	Acks SplunkAcks

	answers answers

	mu     sync.Mutex
	events []HECEvent
	lines  []HECLine
	acks   splunkAcks
}

// HECEvent is an event that the collector has taken.
type HECEvent struct {
	Time       json.Number    `json:"time"`
	Host       string         `json:"host"`
	Source     string         `json:"source"`
	SourceType string         `json:"sourcetype"`
	Index      string         `json:"index"`
	Event      any            `json:"event"`
	Fields     map[string]any `json:"fields"`
}

// HECLine is a line that came through the raw endpoint.
type HECLine struct {
	Host, Source, SourceType, Index string
	Text                            string
}

// answers are given instead of the regular ones, one a request. An answer
// without Status breaks the connection; with After, once the request has taken
// effect. Error is not looked at.
type answers struct {
	mu    sync.Mutex
	queue []Answer
}

func (a *answers) add(more ...Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, more...)
}

// give answers with the next one if it is for this moment of a request.
func (a *answers) give(w http.ResponseWriter, after bool) bool {
	a.mu.Lock()
	if len(a.queue) == 0 || a.queue[0].After != after {
		a.mu.Unlock()
		return false
	}
	next := a.queue[0]
	a.queue = a.queue[1:]
	a.mu.Unlock()
	if next.Status == 0 {
		panic(http.ErrAbortHandler) // net/http breaks the connection without a word
	}
	send(w, next.Status, next.Header, next.Body)
	return true
}

// Next queues answers for the next requests.
func (s *Splunk) Next(next ...Answer) { s.answers.add(next...) }

// Events are all events taken so far, repeats included.
func (s *Splunk) Events() []HECEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]HECEvent(nil), s.events...)
}

// Lines are all lines taken so far by the raw endpoint, repeats included.
func (s *Splunk) Lines() []HECLine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]HECLine(nil), s.lines...)
}

// ServeHTTP answers as Splunk Enterprise 9 does.
func (s *Splunk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.answers.give(w, false) {
		return
	}
	raw := r.URL.Path == "/services/collector/raw"
	switch r.URL.Path {
	case "/services/collector/event", "/services/collector", "/services/collector/raw", "/services/collector/ack":
	default:
		hecAnswer(w, http.StatusNotFound, 404, "The requested URL was not found on this server.", -1)
		return
	}
	if r.Method != http.MethodPost {
		hecAnswer(w, http.StatusMethodNotAllowed, 405, "The requested method is not allowed.", -1)
		return
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case token == "":
		hecAnswer(w, http.StatusUnauthorized, 2, "Token is required", -1)
		return
	case scheme != "Splunk":
		hecAnswer(w, http.StatusUnauthorized, 3, "Invalid authorization", -1)
		return
	case token != s.Token:
		hecAnswer(w, http.StatusForbidden, 4, "Invalid token", -1)
		return
	}
	channel := cmp.Or(r.URL.Query().Get("channel"), r.Header.Get("X-Splunk-Request-Channel"))
	if code, text := s.judgeChannel(r, raw, channel); code != 0 {
		hecAnswer(w, http.StatusBadRequest, code, text, -1)
		return
	}
	if r.URL.Path == "/services/collector/ack" {
		s.answerAck(w, r, channel)
		return
	}
	limit := s.MaxBytes
	if limit == 0 {
		limit = 1 << 20
	}
	body, err := readBody(r, limit)
	switch {
	case errors.Is(err, errTooMuch):
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, "Content-Length of request is too large")
		return
	case err != nil:
		hecAnswer(w, http.StatusBadRequest, 6, "Invalid data format", 0)
		return
	case len(bytes.TrimSpace(body)) == 0:
		hecAnswer(w, http.StatusBadRequest, 5, "No data", -1)
		return
	}
	if raw {
		s.takeLines(w, r, channel, body)
		return
	}
	taken, code, text := s.decode(body)
	if code != 0 && code != 12 && code != 13 && code != 15 { // those before a bad one are kept
		if !s.answers.give(w, true) {
			hecAnswer(w, http.StatusBadRequest, code, text, len(taken))
		}
		return
	}
	ack := s.keep(w, r, channel, taken, nil)
	switch {
	case s.answers.give(w, true):
	case code != 0:
		hecAnswer(w, http.StatusBadRequest, code, text, len(taken))
	default:
		hecSuccess(w, ack)
	}
}

// takeLines is the raw endpoint.
func (s *Splunk) takeLines(w http.ResponseWriter, r *http.Request, channel string, body []byte) {
	query := r.URL.Query()
	if index := query.Get("index"); index != "" && s.Indexes != nil && !slices.Contains(s.Indexes, index) {
		hecAnswer(w, http.StatusBadRequest, 7, "Incorrect index", -1)
		return
	}
	var lines []HECLine
	for line := range strings.Lines(string(body)) {
		lines = append(lines, HECLine{
			Host: query.Get("host"), Source: query.Get("source"), SourceType: query.Get("sourcetype"), Index: query.Get("index"),
			Text: strings.TrimSuffix(line, "\n"),
		})
	}
	ack := s.keep(w, r, channel, nil, lines)
	if !s.answers.give(w, true) {
		hecSuccess(w, ack)
	}
}

// decode stops at the first event that is refused.
func (s *Splunk) decode(body []byte) (taken []HECEvent, code int, text string) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	for {
		var ev HECEvent
		err := decoder.Decode(&ev)
		if errors.Is(err, io.EOF) {
			return taken, 0, ""
		}
		if err != nil {
			return taken, 6, "Invalid data format"
		}
		switch event := ev.Event.(type) {
		case nil:
			return taken, 12, "Event field is required"
		case string:
			if strings.TrimSpace(event) == "" {
				return taken, 13, "Event field cannot be blank"
			}
		case map[string]any:
			if len(event) == 0 {
				return taken, 13, "Event field cannot be blank"
			}
		}
		if !flat(ev.Fields) {
			return taken, 15, "Error in handling indexed fields"
		}
		if ev.Index != "" && s.Indexes != nil && !slices.Contains(s.Indexes, ev.Index) {
			return taken, 7, "Incorrect index"
		}
		taken = append(taken, ev)
	}
}

// flat reports that indexed fields are texts or lists of texts.
func flat(fields map[string]any) bool {
	for _, v := range fields {
		switch v := v.(type) {
		case string, json.Number, bool:
		case []any:
			for _, item := range v {
				if _, ok := item.(string); !ok {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}

func hecAnswer(w http.ResponseWriter, status, code int, text string, invalid int) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	answer := map[string]any{"text": text, "code": code}
	if invalid >= 0 {
		answer["invalid-event-number"] = invalid
	}
	_ = json.NewEncoder(w).Encode(answer) // the sender's loss
}

func hecSuccess(w http.ResponseWriter, ack *int) {
	answer := map[string]any{"text": "Success", "code": 0}
	if ack != nil {
		answer["ackId"] = *ack
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(answer) // the sender's loss
}

var errTooMuch = errors.New("too much")

// readBody reads a request that may be gzipped.
func readBody(r *http.Request, limit int) ([]byte, error) {
	var in io.Reader = r.Body
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		in = z
	case "":
	default:
		return nil, fmt.Errorf("content encoding %q", r.Header.Get("Content-Encoding"))
	}
	body, err := io.ReadAll(io.LimitReader(in, int64(limit)+1))
	if err == nil && len(body) > limit {
		err = errTooMuch
	}
	return body, err
}
