package sinksim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
)

// SplunkAcks says how indexers acknowledge; the zero value is a token without
// indexer acknowledgement.
type SplunkAcks struct {
	// On switches it on.
	On bool
	// After is how often an indexer is asked before it says yes.
	After int
	// Indexers is how many there are. A load balancer gives each request without
	// its cookie to the next one. 0 means one.
	Indexers int
}

// splunkAcks is what the indexers know.
type splunkAcks struct {
	next    int // indexer for the next request without a cookie
	pending map[splunkChannel][]*splunkBatch
}

// splunkChannel is where acknowledgements are counted.
type splunkChannel struct {
	indexer int
	channel string
}

// splunkBatch is what one request brought. It is in memory until it is written.
type splunkBatch struct {
	events  []HECEvent
	lines   []HECLine
	asked   int
	written bool
}

// splunkCookie is what the load balancer sets.
const splunkCookie = "indexer"

// indexer is the one that a request is for.
func (s *Splunk) indexer(w http.ResponseWriter, r *http.Request) int {
	if c, err := r.Cookie(splunkCookie); err == nil {
		if n, err := strconv.Atoi(c.Value); err == nil && n < max(s.Acks.Indexers, 1) {
			return n
		}
	}
	n := s.acks.next % max(s.Acks.Indexers, 1)
	s.acks.next++
	if w != nil && s.Acks.Indexers > 1 {
		http.SetCookie(w, &http.Cookie{Name: splunkCookie, Value: strconv.Itoa(n), Path: "/", HttpOnly: true})
	}
	return n
}

var guid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// judgeChannel is the collector's code for a request without the channel that it
// needs; 0 is none.
func (s *Splunk) judgeChannel(r *http.Request, raw bool, channel string) (code int, text string) {
	switch {
	case r.URL.Path == "/services/collector/ack" && !s.Acks.On:
		return 14, "ACK is disabled"
	case channel == "" && (s.Acks.On || raw):
		return 10, "Data channel is missing"
	case channel != "" && !guid.MatchString(channel):
		return 11, "Invalid data channel"
	}
	return 0, ""
}

// keep takes events or lines, and gives the number to ask for.
func (s *Splunk) keep(w http.ResponseWriter, r *http.Request, channel string, events []HECEvent, lines []HECLine) *int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Acks.On {
		s.events = append(s.events, events...)
		s.lines = append(s.lines, lines...)
		return nil
	}
	at := splunkChannel{s.indexer(w, r), channel}
	b := &splunkBatch{events: events, lines: lines}
	if s.acks.pending == nil {
		s.acks.pending = map[splunkChannel][]*splunkBatch{}
	}
	s.acks.pending[at] = append(s.acks.pending[at], b)
	ack := len(s.acks.pending[at]) - 1
	return &ack
}

// Crash restarts all indexers: what they had not written is gone, and with it
// what they knew of the channels.
func (s *Splunk) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks.pending = nil
}

// answerAck is the endpoint for acknowledgements. An indexer that has never seen
// the channel says no to everything.
func (s *Splunk) answerAck(w http.ResponseWriter, r *http.Request, channel string) {
	var question struct {
		Acks []int `json:"acks"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&question); err != nil {
		hecAnswer(w, http.StatusBadRequest, 6, "Invalid data format", -1)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := s.acks.pending[splunkChannel{s.indexer(w, r), channel}]
	answer := map[string]bool{}
	for _, ack := range question.Acks {
		known := ack >= 0 && ack < len(pending)
		if known {
			b := pending[ack]
			if b.asked++; b.asked > s.Acks.After && !b.written {
				b.written = true
				s.events = append(s.events, b.events...)
				s.lines = append(s.lines, b.lines...)
			}
			known = b.written
		}
		answer[strconv.Itoa(ack)] = known
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(map[string]any{"acks": answer}) // the sender's loss
}
