package sinksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Loki is Grafana Loki's way in, with its limits. It is an http.Handler.
type Loki struct {
	// Tenant is what X-Scope-OrgID must say; empty takes none.
	Tenant string
	// Authorization is what that header must say; empty asks for nothing.
	Authorization string
	// MaxLineBytes bounds a line; 0 is 256 KB.
	MaxLineBytes int
	// MaxAge is how old an entry may be, from Now; 0 is 7 days. Now is the clock; nil
	// means time.Now.
	MaxAge time.Duration
	Now    func() time.Time
	// NoMetadata refuses structured metadata.
	NoMetadata bool

	answers answers

	mu      sync.Mutex
	entries []LokiEntry
	newest  map[string]time.Time // by stream
}

// LokiEntry is an entry that is stored.
type LokiEntry struct {
	Labels   map[string]string
	Time     time.Time
	Line     string
	Metadata map[string]string
	Stores   int // how often it came
}

// maxBehind is how much older than the newest of its stream an entry may be: half
// of max_chunk_age.
const maxBehind = time.Hour

// Next queues answers for the next requests.
func (s *Loki) Next(next ...Answer) { s.answers.add(next...) }

// Entries are those stored, in the order in which they first came.
func (s *Loki) Entries() []LokiEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries)
}

// ServeHTTP answers as Loki 3 does (HTTP API, "Ingest logs").
func (s *Loki) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.answers.give(w, false) {
		return
	}
	switch {
	case r.URL.Path != "/loki/api/v1/push":
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	case s.Authorization != "" && r.Header.Get("Authorization") != s.Authorization:
		http.Error(w, "authentication error: invalid token", http.StatusUnauthorized)
		return
	case r.Header.Get("X-Scope-OrgID") != s.Tenant:
		http.Error(w, "no org id", http.StatusUnauthorized)
		return
	}
	body, err := readBody(r, 4<<20)
	if errors.Is(err, errTooMuch) {
		http.Error(w, "request body too large", http.StatusRequestEntityTooLarge)
		return
	}
	var request struct {
		Streams []struct {
			Labels  map[string]string   `json:"stream"`
			Entries [][]json.RawMessage `json:"values"`
		} `json:"streams"`
	}
	if err == nil && r.Header.Get("Content-Type") != "application/json" {
		err = fmt.Errorf("unsupported content type %q", r.Header.Get("Content-Type"))
	}
	if err == nil {
		err = json.Unmarshal(body, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var refused []string
	s.mu.Lock()
	for _, stream := range request.Streams {
		if reason := checkLabels(stream.Labels); reason != "" {
			refused = append(refused, reason)
			continue
		}
		for _, raw := range stream.Entries {
			if reason := s.store(stream.Labels, raw); reason != "" {
				refused = append(refused, reason)
			}
		}
	}
	s.mu.Unlock()
	if s.answers.give(w, true) {
		return
	}
	if len(refused) > 0 { // the others are stored
		http.Error(w, refused[len(refused)-1], http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func checkLabels(labels map[string]string) (refusal string) {
	if len(labels) == 0 {
		return "error at least one label pair is required per stream"
	}
	if len(labels) > 15 {
		return fmt.Sprintf("entry for stream '%v' has %d label names; limit 15", labels, len(labels))
	}
	for name, value := range labels {
		if !labelName.MatchString(name) || len(name) > 1024 || len(value) > 2048 {
			return fmt.Sprintf("error parsing labels '%v'", labels)
		}
	}
	return ""
}

func (s *Loki) store(labels map[string]string, raw []json.RawMessage) (refusal string) {
	var entry LokiEntry
	var stamp string
	entry.Labels = labels
	if len(raw) < 2 || len(raw) > 3 || json.Unmarshal(raw[0], &stamp) != nil || json.Unmarshal(raw[1], &entry.Line) != nil {
		return "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: an entry is [time, line] or [time, line, metadata]"
	}
	if len(raw) == 3 && json.Unmarshal(raw[2], &entry.Metadata) != nil {
		return "structured metadata has a value that is no text"
	}
	nanoseconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return "the time of an entry is no number in a text"
	}
	entry.Time = time.Unix(0, nanoseconds).UTC()
	key := fmt.Sprint(labels)
	now, maxAge, maxLine := time.Now(), s.MaxAge, s.MaxLineBytes
	if s.Now != nil {
		now = s.Now()
	}
	if maxAge == 0 {
		maxAge = 7 * 24 * time.Hour
	}
	if maxLine == 0 {
		maxLine = 256 << 10
	}
	switch {
	case entry.Time.Before(now.Add(-maxAge)):
		return fmt.Sprintf("entry for stream '%s' has timestamp too old: %s, oldest acceptable timestamp is: %s", key,
			entry.Time.Format(time.RFC3339), now.Add(-maxAge).UTC().Format(time.RFC3339))
	case entry.Time.After(now.Add(10 * time.Minute)):
		return fmt.Sprintf("entry for stream '%s' has timestamp too new: %s", key, entry.Time.Format(time.RFC3339))
	case entry.Time.Before(s.newest[key].Add(-maxBehind)):
		return fmt.Sprintf("entry with timestamp %s ignored, reason: 'entry too far behind, oldest acceptable timestamp is: %s',\ntotal ignored: 1 out of 1 for stream: %s",
			entry.Time, s.newest[key].Add(-maxBehind).Format(time.RFC3339), key)
	case len(entry.Line) > maxLine:
		return fmt.Sprintf("Max entry size '%d' bytes exceeded for stream '%s' while adding an entry with length '%d' bytes", maxLine, key, len(entry.Line))
	case s.NoMetadata && len(entry.Metadata) > 0:
		return fmt.Sprintf("stream '%s' includes structured metadata, but this feature is disallowed. Please see `limits_config.allow_structured_metadata`", key)
	}
	size := 0
	for name, value := range entry.Metadata {
		size += len(name) + len(value)
	}
	if size > 64<<10 || len(entry.Metadata) > 128 {
		return fmt.Sprintf("stream '%s' has structured metadata too large: '%d' bytes, limit: '65536' bytes", key, size)
	}
	for i := range s.entries {
		if e := &s.entries[i]; e.Time.Equal(entry.Time) && e.Line == entry.Line && maps.Equal(e.Labels, entry.Labels) {
			e.Stores++
			return ""
		}
	}
	if s.newest == nil {
		s.newest = map[string]time.Time{}
	}
	if entry.Time.After(s.newest[key]) {
		s.newest[key] = entry.Time
	}
	entry.Stores = 1
	s.entries = append(s.entries, entry)
	return ""
}
