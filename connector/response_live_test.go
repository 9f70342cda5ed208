package connector

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/erbridge/erbridge/internal/soar"
)

const outputPath = "/esp-ui/websocket/action/result"

// outputFrame is a frame as the vendor's console reads it.
func outputFrame(status, data, message string) string {
	text, _ := json.Marshal(map[string]string{"status": status, "data": data, "message": message})
	return string(text)
}

// outputServer serves the websocket of live responses; it cuts the socket behind the
// frames when broken, and counts the pongs.
func outputServer(t *testing.T, path string, frames []string, broken bool, pongs *atomic.Int32) *Client {
	t.Helper()
	server := httptest.NewServer(socketHandler(t, path, func(conn *websocket.Conn, wanted string) {
		if wanted != "c0ffee" {
			t.Errorf("the client sent %q", wanted)
		}
		_ = conn.WriteMessage(websocket.TextMessage, []byte("Fetching results"))
		for _, frame := range frames {
			_ = conn.WriteMessage(websocket.BinaryMessage, []byte(frame))
		}
		if broken {
			_ = conn.NetConn().Close()
			return
		}
		for {
			_, text, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if string(text) == "pong" {
				pongs.Add(1)
			}
		}
	}))
	t.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL, BasePath: "/esp-ui/services/api/v1", Username: "u", Password: soar.SecretValue("p"), Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLiveOutput(t *testing.T) {
	for _, tt := range []struct {
		name   string
		path   string
		frames []string
		broken bool
		want   LiveOutput
		pieces int
		err    string
	}{
		{name: "pieces and success", frames: []string{outputFrame("received", "", ""), outputFrame("executing", "a\n", ""), outputFrame("success", "b\n", "")},
			want: LiveOutput{Output: "a\nb\n", Status: "success", Complete: true}, pieces: 2},
		{name: "at the root", path: "/websocket/action/result", frames: []string{outputFrame("success", "", "")}, want: LiveOutput{Status: "success", Complete: true}},
		{name: "another path", path: "/esp-ui/action/result", frames: []string{outputFrame("success", "", "")}, want: LiveOutput{Status: "success", Complete: true}},
		{name: "failure", frames: []string{outputFrame("failure", "", "RESP_SERVER_DISABLED")},
			want: LiveOutput{Status: "failure", Message: "RESP_SERVER_DISABLED", Complete: true}},
		{name: "cancelled", frames: []string{outputFrame("cancel_initiated", "x", ""), outputFrame("Cancelled", "", "by admin")},
			want: LiveOutput{Output: "x", Status: "Cancelled", Message: "by admin", Complete: true}, pieces: 1},
		{name: "frames that are something else", frames: []string{"", "{", "[1]", "null", `"text"`, `{"node":{}}`, `{"status":null,"data":{"a":1}}`, outputFrame("success", "", "")},
			want: LiveOutput{Output: `{"a":1}`, Status: "success", Complete: true}, pieces: 1},
		{name: "words nobody knows are not final", frames: []string{outputFrame("finished", "a", "")}, broken: true,
			want: LiveOutput{Output: "a", Status: "finished"}, pieces: 1, err: "connection lost after 1 bytes"},
		{name: "cut before anything came", broken: true, err: "connection lost after 0 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.path == "" {
				tt.path = outputPath
			}
			var pongs atomic.Int32
			c := outputServer(t, tt.path, tt.frames, tt.broken, &pongs)
			pieces := 0
			got, err := c.Responses.LiveOutput(t.Context(), Command{CommandID: "c0ffee"}, time.Minute, func(string) { pieces++ })
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if got != tt.want || pieces != tt.pieces {
				t.Errorf("got %+v in %d pieces, want %+v in %d", got, pieces, tt.want, tt.pieces)
			}
		})
	}
}

// TestLiveOutputPongs: the vendor's console answers every frame but the last.
func TestLiveOutputPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pongs := 0
		c := inPipes(t, socketHandler(t, outputPath, func(conn *websocket.Conn, _ string) {
			for _, frame := range []string{outputFrame("received", "", ""), outputFrame("executing", "a", "")} {
				_ = conn.WriteMessage(websocket.BinaryMessage, []byte(frame))
				if _, text, err := conn.ReadMessage(); err == nil && string(text) == "pong" {
					pongs++
				}
			}
			_ = conn.WriteMessage(websocket.BinaryMessage, []byte(outputFrame("success", "", "")))
			_, _, _ = conn.ReadMessage() // the end
		}))
		got, err := c.Responses.LiveOutput(t.Context(), Command{CommandID: "c"}, 0, nil)
		if err != nil || got.Output != "a" || !got.Complete || pongs != 2 {
			t.Errorf("got %+v, %v, %d pongs", got, err, pongs)
		}
	})
}

func TestLiveOutputCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inPipes(t, socketHandler(t, outputPath, func(conn *websocket.Conn, _ string) {
			_ = conn.WriteMessage(websocket.BinaryMessage, []byte(outputFrame("executing", "half", "")))
			for {
				if _, _, err := conn.ReadMessage(); err != nil {
					return
				}
			}
		}))
		ctx, cancel := context.WithCancel(t.Context())
		got, err := c.Responses.LiveOutput(ctx, Command{CommandID: "c"}, 0, func(string) { cancel() })
		if !errors.Is(err, context.Canceled) || got.Output != "half" || got.Complete {
			t.Errorf("called off: %+v, %v", got, err)
		}
		got, err = c.Responses.LiveOutput(t.Context(), Command{CommandID: "c"}, time.Minute, nil)
		if err != nil || got.Output != "half" || got.Complete {
			t.Errorf("deadline: %+v, %v", got, err)
		}
	})
}

// commandServer has no websocket, and tells of a command that it is under way so many
// times.
func commandServer(t *testing.T, underWay int, last string) http.Handler {
	asked := 0
	mux := http.NewServeMux()
	row := func() string {
		if asked++; asked <= underWay {
			return `{"id":1,"command_id":"c","status":"received","data":"","message":""}`
		}
		return last
	}
	mux.HandleFunc("POST /esp-ui/services/api/v1/login", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, `{"token":"t"}`)
	})
	mux.HandleFunc("GET /esp-ui/services/api/v1/response/c", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, `{"status":"success","data":`+row()+`}`)
	})
	mux.HandleFunc("POST /esp-ui/services/api/v1/response/view", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, `{"status":"success","data":{"count":1,"results":[`+row()+`]}}`)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(htmlPage)) // the console answers everything
	})
	return mux
}

func TestLiveOutputWithoutSocket(t *testing.T) {
	const done = `{"id":1,"command_id":"c","status":"success","data":"all of it","message":""}`
	const failed = `{"id":1,"command_id":"c","status":"failure","data":"NA","message":"FILE_NOT_FOUND"}`
	for _, tt := range []struct {
		name     string
		cmd      Command
		underWay int
		last     string
		want     LiveOutput
		waited   time.Duration
	}{
		{"by command", Command{CommandID: "c", OpenC2ID: 5}, 3, done, LiveOutput{Output: "all of it", Status: "success", Complete: true, Polled: true}, 6 * time.Second},
		{"by action", Command{OpenC2ID: 5}, 1, done, LiveOutput{Output: "all of it", Status: "success", Complete: true, Polled: true}, 2 * time.Second},
		{"failure", Command{CommandID: "c"}, 0, failed, LiveOutput{Status: "failure", Message: "FILE_NOT_FOUND", Complete: true, Polled: true}, 0},
		{"deadline", Command{CommandID: "c"}, 1000, done, LiveOutput{Status: "received", Polled: true}, 31 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inPipes(t, commandServer(t, tt.underWay, tt.last))
				start := time.Now()
				got, err := c.Responses.LiveOutput(t.Context(), tt.cmd, 31*time.Second, nil)
				if err != nil || got != tt.want {
					t.Errorf("got %+v, %v", got, err)
				}
				if waited := time.Since(start); waited != tt.waited {
					t.Errorf("waited %v, want %v", waited, tt.waited)
				}
			})
		})
	}
}

func TestLiveOutputOfNothing(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1")
	if _, err := c.Responses.LiveOutput(t.Context(), Command{}, time.Minute, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("no id: %v", err)
	}
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/response/view") {
			answerJSON(w, http.StatusOK, `{"status":"success","data":{"results":[{"id":1,"status":"success"},{"id":2,"status":"success"}]}}`)
			return
		}
		http.NotFound(w, r)
	})
	// An action on several hosts has no one output.
	if _, err := newClient(t, server.URL).Responses.LiveOutput(t.Context(), Command{OpenC2ID: 3}, time.Minute, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("several hosts: %v", err)
	}
	// A Community server has neither the socket nor the call.
	if _, err := newClient(t, server.URL).Responses.LiveOutput(t.Context(), Command{CommandID: "c"}, time.Minute, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("community: %v", err)
	}
	if got := commandName(Command{OpenC2ID: 3}); got != "of action 3" {
		t.Errorf("name %q", got)
	}
}
