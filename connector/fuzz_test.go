package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// seedFiles are the texts of the recorded exchanges, from which the fuzz targets
// of this package start.
func seedFiles(f *testing.F) [][]byte {
	f.Helper()
	names, err := filepath.Glob(filepath.Join(captureDir, "*.txt"))
	if err != nil || len(names) == 0 {
		f.Fatal("no captures", err)
	}
	texts := make([][]byte, 0, len(names))
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		texts = append(texts, text)
	}
	return texts
}

// seedAnswers adds the answers of the recorded exchanges that are JSON.
func seedAnswers(f *testing.F) {
	f.Helper()
	for _, text := range seedFiles(f) {
		if ex, err := parseExchange(text); err == nil && json.Valid(ex.answer) {
			f.Add(ex.answer)
		}
	}
}

// FuzzAlert reads any answer as a page of alerts. What was read must survive its
// way into the store, as JSON.
func FuzzAlert(f *testing.F) {
	seedAnswers(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		answer, err := parse(text)
		if err != nil {
			return
		}
		page := rows(answer.at("data"), alertRow)
		for _, a := range page.Results {
			if a.ID == 0 {
				t.Fatal("an alert without id is not malformed")
			}
			normal := Normalize("er", "https://er.example", a, nil, nil)
			again, err := json.Marshal(normal)
			if err != nil {
				t.Fatalf("cannot be written: %v", err)
			}
			if !utf8.Valid(again) || json.Unmarshal(again, &normal) != nil {
				t.Fatalf("cannot be read again: %s", again)
			}
		}
	})
}

// FuzzColumns reads anything as the columns of an event: they are text, and the
// keys are those of the object.
func FuzzColumns(f *testing.F) {
	f.Add([]byte(`{"pid":"7","path":"C:\\x","n":null,"o":{"a":[1]}}`))
	f.Add([]byte(`"{\"pid\": \"7\"}"`))
	f.Add([]byte(`"{\"pid\": \"7\""`))
	seedAnswers(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := parse(text)
		if err != nil {
			return
		}
		columns := v.columns()
		var want map[string]json.RawMessage
		if json.Unmarshal(text, &want) == nil && want != nil && len(columns) != len(want) {
			t.Fatalf("%d columns of %d", len(columns), len(want))
		}
		for name, inner := range want {
			var s string
			if json.Unmarshal(inner, &s) == nil && s != "" && columns[name] != s {
				t.Fatalf("column %q: got %q, want %q", name, columns[name], s)
			}
		}
	})
}

// FuzzMultipart writes an upload and reads it back with mime/multipart.
func FuzzMultipart(f *testing.F) {
	f.Add("iocs.json", []byte(`{"a":1}`), "windows")
	f.Add("na\"me\r\nX: y", []byte("--boundary\r\n"), "\r\n--")
	f.Fuzz(func(t *testing.T, name string, content []byte, field string) {
		b, err := multipartBody(Upload{Name: name, Content: content}, map[string]string{"platform": field})
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		_, params, err := mime.ParseMediaType(b.kind)
		if err != nil {
			t.Fatal(err)
		}
		form, err := multipart.NewReader(bytes.NewReader(b.data), params["boundary"]).ReadForm(2 * maxUploadBytes)
		if err != nil {
			t.Fatal(err)
		}
		if len(form.File) != 1 || len(form.File["file"]) != 1 {
			t.Fatalf("files %v", form.File)
		}
		if got := form.Value["platform"]; (field == "") != (len(got) == 0) || field != "" && got[0] != field {
			t.Fatalf("platform %q, want %q", got, field)
		}
		file, err := form.File["file"][0].Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(file)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}

// FuzzAnswer judges any answer to any kind of call: it is a success, or an error
// of which one can say whether the call may have happened; its text is one line of
// valid UTF-8.
func FuzzAnswer(f *testing.F) {
	for _, text := range seedFiles(f) {
		if ex, err := parseExchange(text); err == nil {
			f.Add(ex.status, ex.header.Get("Content-Type"), ex.answer, false)
		}
	}
	f.Add(404, "text/html", []byte("<html>"), true)
	f.Fuzz(func(t *testing.T, status int, contentType string, text []byte, effect bool) {
		c := &Client{}
		k := call{id: "any", method: http.MethodPost, path: "/any", effect: effect}
		read := false
		err := c.judge(k, answer{status: status, header: http.Header{"Content-Type": {contentType}}, body: text}, func(value) { read = true })
		if (err == nil) != read {
			t.Fatalf("read: %v, error %v", read, err)
		}
		if err == nil {
			if !good(status) || !bytes.Contains(bytes.ToLower(text), []byte("status")) {
				t.Fatal("a success that does not say so")
			}
			return
		}
		if outcome(err) == "error" {
			t.Fatalf("an error without a name: %v", err)
		}
		if !utf8.ValidString(err.Error()) || bytes.ContainsAny([]byte(err.Error()), "\r\n\x1b") {
			t.Fatalf("not one line: %q", err)
		}
	})
}

// seedFrames adds the frames of the recorded websockets.
func seedFrames(f *testing.F) {
	f.Helper()
	text, err := os.ReadFile(filepath.Join(captureDir, "websocket_transcript.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for _, session := range parseTranscript(f, string(text)) {
		for _, frame := range session.frames {
			f.Add(frame.body)
		}
	}
}

// FuzzLiveFrame takes any frame twice as the answer to a live query on two hosts. A
// frame counts for one host and no more, however often it comes, and one of another
// query counts for none.
func FuzzLiveFrame(f *testing.F) {
	seedFrames(f)
	f.Add([]byte(`{"node":{"id":0,"name":"x"},"data":[{"a":null},3,{"b":{"c":1}}],"query_id":"14","status":"1"}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		collector := &liveCollector{ticket: LiveTicket{QueryID: 14, Online: 2}, at: make(map[string]int)}
		for range 2 {
			if collector.take(frame) {
				t.Fatal("one host counts as two")
			}
		}
		hosts := collector.results.Hosts
		if len(hosts) > 1 {
			t.Fatalf("one frame, %d hosts", len(hosts))
		}
		var other map[string]json.RawMessage // unlike a struct, with the key's very letters
		var id int64
		if json.Unmarshal(frame, &other) == nil && json.Unmarshal(other["query_id"], &id) == nil && id != 0 && id != 14 && len(hosts) > 0 {
			t.Fatalf("a frame of query %d counts", id)
		}
	})
}

// FuzzOutputFrame takes any frame as a piece of a live response: the pieces add up
// to the output, and a frame that is not the last is answered.
func FuzzOutputFrame(f *testing.F) {
	seedFrames(f)
	f.Add([]byte(`{"status":"in progress","data":"C:\\>","message":null}`))
	f.Add([]byte(`{"status":"success","data":"","message":""}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var pieces strings.Builder
		pongs := 0
		h := &outputHearer{piece: func(text string) { pieces.WriteString(text) }, pong: func() { pongs++ }}
		all := h.take(frame)
		if h.out.Output != pieces.String() {
			t.Fatalf("pieces %q, output %q", pieces.String(), h.out.Output)
		}
		if all != finalStatus(h.out.Status) || all && pongs > 0 {
			t.Fatalf("status %q: all %v, %d answers", h.out.Status, all, pongs)
		}
	})
}
