package ersim

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// capture is an exchange with a community server of release 2.1.2.
type capture struct {
	method, path string
	header       http.Header // of the request
	body         string
	status       int
	answer       http.Header
	text         string // the answer's body
}

// readCapture reads an exchange: with the server itself, or with the proxy before it,
// which is written down in another form.
func readCapture(t *testing.T, name string) capture {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c := capture{header: http.Header{}, answer: http.Header{}}
	request, response, ok := strings.Cut(strings.TrimPrefix(string(raw), "### REQUEST\n"), "### RESPONSE\n")
	if !ok {
		request, response, ok = strings.Cut(string(raw), "\n\n")
	}
	if !ok {
		t.Fatalf("%s is not a capture", name)
	}
	head, body, _ := strings.Cut(request, "\n\n")
	c.body = strings.TrimSpace(body)
	line, head, _ := strings.Cut(head, "\n")
	parts := strings.Fields(line)
	c.method, c.path = parts[0], parts[1]
	for _, pair := range regexp.MustCompile(`'(.*?)': '(.*?)'`).FindAllStringSubmatch(head, -1) {
		c.header.Set(pair[1], pair[2])
	}
	readHeader(c.header, head)
	head, c.text, _ = strings.Cut(response, "\n\n")
	line, head, _ = strings.Cut(head, "\n")
	line = strings.TrimPrefix(line, "HTTP/1.1 ")
	if c.status, err = strconv.Atoi(strings.Fields(line)[0]); err != nil {
		t.Fatal(err)
	}
	readHeader(c.answer, head)
	c.text = strings.TrimSpace(c.text)
	if c.answer.Get("Transfer-Encoding") == "chunked" && c.answer.Get("Server") == "" { // of one chunk
		_, c.text, _ = strings.Cut(c.text, "\n")
		c.text = strings.TrimSpace(strings.TrimSuffix(c.text, "\n\n0"))
	}
	return c
}

func readHeader(into http.Header, head string) {
	for line := range strings.SplitSeq(head, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "{") {
			into.Set(name, value)
		}
	}
}

// free are keys whose content depends on the host, the event, the rule or the feed.
var free = []string{
	"alerted_entry", "message", "columns", "os_info", "network_info", "host_details", "conditions", "intel_data", "source_data",
	"tags", "description", "recon_queries",
}

// shape names the keys of an answer, sorted, with the kind of each value. Free
// content is reduced to its key.
func shape(v any, key string) string {
	switch v := v.(type) {
	case obj:
		if slices.Contains(free, key) {
			return "..."
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, name+":"+shape(v[name], name))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case []any:
		if slices.Contains(free, key) {
			return "..."
		}
		kinds := map[string]bool{}
		for _, element := range v {
			kinds[shape(element, "")] = true
		}
		return "[" + strings.Join(slices.Sorted(maps.Keys(kinds)), " | ") + "]"
	case nil:
		if !slices.Contains(free, key) {
			return "null"
		}
	}
	if slices.Contains(free, key) && key != "message" {
		return "..."
	}
	return fmt.Sprintf("%T", v)
}

// likeCaptured builds the state that the captures were taken from: host 1 with
// Windows, host 3 with Linux, 22 alerts of the same sources in the same order.
func likeCaptured(t *testing.T) *rig {
	r := newRig(t, Options{Profile: "2.1.2", Seed: 7, Hosts: 3})
	raiseLikeCaptured(r.s)
	return r
}

func raiseLikeCaptured(s *Server) {
	win, linux := s.hosts[0].identifier, s.hosts[2].identifier
	s.SetTags(win, "finance")
	s.SetTags(linux, "web")
	socket := map[string]string{
		"pid": "77", "path": "/usr/bin/curl", "time": "1795317750", "action": "connect", "family": "2", "protocol": "6", "local_port": "50",
		"remote_port": "443", "local_address": "10.0.0.5", "remote_address": "203.0.113.66",
	}
	for range 3 {
		s.Raise(AlertSpec{Host: win, Rule: "Credential dumping"})
	}
	s.Raise(AlertSpec{Host: linux, Source: "ioc", Columns: socket})
	socket["local_port"] = "51"
	s.Raise(AlertSpec{Host: linux, Source: "ioc", Columns: socket})
	for range 2 {
		s.Raise(AlertSpec{Host: linux, Rule: "C2 beacon", Severity: "INFO", Columns: socket})
	}
	s.Raise(AlertSpec{Host: win, Source: "virustotal", Intel: map[string]any{"total": 70}})
	s.Raise(AlertSpec{Host: win, Source: "alienvault"})
	s.alert(s.Raise(AlertSpec{Host: win, Source: "ibmxforce"})).change = &change{resolved: true}
	s.open--
	for range 15 {
		s.Raise(AlertSpec{Host: win, Rule: "Credential dumping", Separate: true})
	}
}

// prepareSession logs the user out, or makes the token of a capture one that the
// server does not take.
func prepareSession(r *rig, name string) {
	forge := func(id int64) { r.token = r.s.sign(&user{id: id}, r.s.now().Unix()+1) }
	switch name {
	case "login_ok", "login_no_content_type", "login_basic_auth_header_bad_body_good":
	case "token_after_logout", "token_after_logout_post", "samesec_after_logout1":
		r.login("admin") // within the same second: the same token once more
		r.call("POST", "/logout", nil)
	case "other_session_after_logout", "logout_again":
		r.call("POST", "/logout", nil)
	case "token_registered_after_expiry":
		r.s.ExpireTokens()
	case "token_expired_unregistered":
		r.token = r.s.sign(&user{id: 1}, r.s.now().Add(-8*24*time.Hour).Unix())
	case "token_valid_unregistered":
		forge(1)
	case "token_valid_unknown_user":
		forge(999)
	}
}

// prepareRest brings about what the remaining captures were taken from.
func prepareRest(r *rig, name string) {
	switch name {
	case "changepw_back":
		r.s.users[0].password = "admin2"
	case "dist_to_disabled":
		r.s.setState(r.s.hosts[1], hostRemoved)
	case "hosts_config":
		r.s.release2.configs = nil // the server had no configs yet
	case "hosts_detail_enriched":
		r.s.hosts[1].queryRead, r.s.hosts[1].queryWrite = r.s.now(), r.s.now()
	case "queries_add_dup":
		r.call("POST", "/queries/add", obj{"name": "q1", "query": "select * from processes;", "interval": 60})
	}
}

// TestCaptures makes the calls of the captures and compares what comes back: the
// status, the kind of content, what the envelope says, and the keys.
func TestCaptures(t *testing.T) {
	files, err := filepath.Glob("testdata/2.1.2/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no captures", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if name == "websocket_transcript" {
			continue // TestCapturedSockets
		}
		t.Run(name, func(t *testing.T) {
			c := readCapture(t, file)
			r := likeCaptured(t)
			prepareHosts(r, name)
			prepareSearch(r.s, name)
			prepareSession(r, name)
			prepareRest(r, name)
			w := r.replay(c, prepareCarve(r, name))
			compareCapture(t, c, w)
		})
	}
}

// replay makes the call of a capture, with the names of this fleet.
func (r *rig) replay(c capture, session string) *httptest.ResponseRecorder {
	r.t.Helper()
	replace := strings.NewReplacer(
		"EC2A1111-0000-0000-0000-00000000000A", r.s.hosts[0].identifier,
		"EC2B2222-0000-0000-0000-00000000000B", r.s.hosts[2].identifier,
		"EC2C3333-0000-0000-0000-00000000000C", r.s.hosts[1].identifier,
		"A7NSDDG5NN", session, `"query_id": "19"`, `"query_id": "1"`, `"query_id": 19`, `"query_id": 1`,
		`"rule_id": 2`, `"rule_id": 13`, "2026-11-22", r.clock.Now().Format(time.DateOnly),
		`"dumping"`, `"DUMPING"`, "<token>", r.token,
	)
	req := httptest.NewRequestWithContext(r.t.Context(), c.method, replace.Replace(c.path), strings.NewReader(replace.Replace(c.body)))
	for name, values := range c.header {
		req.Header.Set(name, replace.Replace(values[0]))
	}
	w := httptest.NewRecorder()
	r.s.ServeHTTP(w, req)
	return w
}

// compareCapture says where an answer differs from a captured one.
func compareCapture(t *testing.T, c capture, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != c.status {
		t.Fatalf("got %d, want %d: %s", w.Code, c.status, w.Body)
	}
	for _, name := range []string{
		"Content-Type", "Content-Disposition", "Content-Encoding", "Allow",
		"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Expose-Headers",
	} {
		if got, want := w.Header().Get(name), c.answer.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	text := w.Body.Bytes()
	if w.Header().Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if text, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	switch {
	case c.method == http.MethodHead:
		if len(text) > 0 || w.Header().Get("Content-Length") == "0" {
			t.Errorf("%q, length %s", text, w.Header().Get("Content-Length"))
		}
	case strings.HasPrefix(c.answer.Get("Content-Type"), "text/csv"):
		if got, want := tableShape(string(text)), tableShape(c.text); got != want {
			t.Errorf("table\n got %s\nwant %s", got, want)
		}
	case c.answer.Get("Content-Type") != typeJSON:
		if got := strings.TrimSpace(string(text)); got != c.text {
			t.Errorf("got %q, want %q", got, c.text)
		}
	default:
		compareJSON(t, text, []byte(c.text))
	}
}

// tableShape is the header of a table and how many cells its rows have.
func tableShape(text string) string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\r", "")), "\n")
	cells := len(strings.Split(lines[0], ","))
	return fmt.Sprint(lines[0], " ", cells, " ", len(lines))
}

func compareJSON(t *testing.T, text, captured []byte) {
	t.Helper()
	var got, want any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(captured, &want); err != nil {
		t.Fatal(err)
	}
	if g, w := shape(got, ""), shape(want, ""); g != w {
		t.Errorf("shape\n got %s\nwant %s", g, w)
	}
	g, okGot := got.(obj)
	if w, okWant := want.(obj); okGot && okWant {
		for _, key := range []string{"status", "message", "errors"} {
			if g, w := fmt.Sprint(g[key]), fmt.Sprint(w[key]); g != w {
				t.Errorf("%s: got %q, want %q", key, g, w)
			}
		}
	}
}

// prepareCarve starts the carve that carve captures speak of and returns its session.
func prepareCarve(r *rig, name string) string {
	if !strings.HasPrefix(name, "carves_") || strings.Contains(name, "not_started") || strings.Contains(name, "again") {
		return "A7NSDDG5NN"
	}
	linux := r.s.hosts[2].identifier
	r.data("POST", "/distributed/add", obj{"query": "select * from carves where path='/etc/passwd' and carve=1;", "nodes": linux})
	for len(r.s.Carves()) == 0 {
		r.wait(10 * time.Millisecond)
	}
	if !strings.Contains(name, "in_progress") {
		r.wait(time.Minute)
	}
	return r.s.Carves()[0].SessionID
}

// TestCapturedSockets holds the websocket against what was written down of a real one:
// the sentences, the frames and the silence.
func TestCapturedSockets(t *testing.T) {
	transcript, err := os.ReadFile("testdata/2.1.2/websocket_transcript.txt")
	if err != nil {
		t.Fatal(err)
	}
	var sentences []string
	frames := map[string]bool{}
	for _, found := range regexp.MustCompile(`RECV opcode ([12]) b'(.*)'`).FindAllStringSubmatch(string(transcript), -1) {
		if found[1] == "1" {
			sentences = append(sentences, found[2])
			continue
		}
		var frame obj
		if err := json.Unmarshal([]byte(strings.ReplaceAll(found[2], `\\`, `\`)), &frame); err != nil {
			t.Fatal(err)
		}
		frames[frameShape(frame)] = true
	}
	if len(sentences) == 0 || len(frames) == 0 {
		t.Fatal("nothing was written down")
	}

	l := newLive(t, Options{Profile: "2.1.2", Hosts: 3, CommandDelay: time.Millisecond})
	id, online := l.ask(obj{"query": "select uid, username from users"})
	failing, _ := l.ask(obj{"query": "delete from users;"})
	for query, want := range map[int64]float64{id: 0, failing: 1} {
		conn := l.dial("/distributed/result", query)
		for range online {
			_, data, err := conn.ReadMessage()
			var frame obj
			if err := errors.Join(err, json.Unmarshal(data, &frame)); err != nil {
				t.Fatal(err)
			}
			if !frames[frameShape(frame)] || frame["status"] != want {
				t.Errorf("%s, not among %v", data, frames)
			}
		}
	}
	for _, sentence := range sentences { // also for ids of no query, and for what is no id
		conn := l.socket("/distributed/result")
		id := sentence[strings.LastIndex(sentence, " ")+1:]
		if err := conn.WriteMessage(websocket.TextMessage, []byte(id)); err != nil {
			t.Fatal(err)
		}
		if kind, said, err := conn.ReadMessage(); err != nil || kind != websocket.TextMessage || string(said) != sentence {
			t.Errorf("id %s: %d %q %v, want %q", id, kind, said, err, sentence)
		}
	}
	conn := l.socket(l.s.BasePath() + "/distributed/result")
	if _, data, err := conn.ReadMessage(); err == nil {
		t.Errorf("below the API: %q", data)
	}
}

// frameShape is the shape of a frame, with rows as columns of text.
func frameShape(frame obj) string {
	rows, ok := frame["data"].([]any)
	for _, row := range rows {
		for _, value := range row.(obj) {
			_, isText := value.(string)
			ok = ok && isText
		}
	}
	return fmt.Sprint(shape(frame["node"], ""), len(rows) > 0, ok, frame["status"], len(frame))
}
