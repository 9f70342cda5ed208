package connector

import (
	"errors"
	"fmt"
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

func TestLiveResults(t *testing.T) {
	const text, binary = websocket.TextMessage, websocket.BinaryMessage
	type frame struct {
		kind int
		body string
	}
	ack := frame{text, "Fetching results for query with query id : 7"}
	for _, tt := range []struct {
		name     string
		frames   []frame
		online   int
		complete bool
		hosts    string // id:identifier:rows:failed ...
	}{
		{"all answer", []frame{ack, {binary, `{"node":{"id":1,"name":"a","host_identifier":"A"},"data":[{"uid":"0"},{"uid":"1"}],"query_id":7,"status":0}`},
			{binary, `{"node":{"id":2,"name":"b"},"data":[],"query_id":7,"status":1}`}}, 2, true, "1:A:2:false 2:B:0:true"},
		{"JSON in text frames", []frame{{text, `{"node":{"id":1},"data":[{"uid":0}],"query_id":"7","status":"0"}`}}, 1, true, "1:A:1:false"},
		{"one host twice", []frame{ack, {binary, `{"node":{"id":1},"data":[{"a":"b"}],"query_id":7,"status":0}`},
			{binary, `{"node":{"id":1},"data":[],"query_id":7,"status":0}`}}, 2, false, "1:A:1:false"},
		{"second answer heals the first", []frame{ack, {binary, `{"node":{"id":1},"data":[],"query_id":7,"status":1}`},
			{binary, `{"node":{"id":1},"data":[{"a":"b"}],"query_id":7,"status":0}`}, {binary, `{"node":{"id":2},"data":[],"query_id":7,"status":0}`}},
			2, true, "1:A:1:false 2:B:0:false"},
		{"answers to others", []frame{ack, {binary, `{"node":{"id":1},"data":[],"query_id":8,"status":0}`}, {binary, `{"node":`}, {binary, ``},
			{binary, `[1]`}, {binary, `{"node":{"id":2},"data":[],"query_id":7,"status":0}`}}, 2, false, "2:B:0:false"},
		{"silence", []frame{ack}, 1, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inPipes(t, socketHandler(t, resultPath, untilGone(func(conn *websocket.Conn, _ string) {
					for _, f := range tt.frames {
						_ = conn.WriteMessage(f.kind, []byte(f.body))
					}
				})))
				ticket := LiveTicket{QueryID: 7, Online: tt.online, Hosts: []LiveHost{{1, "A", "a"}, {2, "B", "b"}}}
				got, err := c.Queries.Results(t.Context(), ticket, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				var hosts []string
				for _, h := range got.Hosts {
					hosts = append(hosts, fmt.Sprintf("%d:%s:%d:%v", h.NodeID, h.Identifier, len(h.Rows), h.Failed))
				}
				if got.Complete != tt.complete || got.Online != tt.online || strings.Join(hosts, " ") != tt.hosts {
					t.Errorf("got %v, complete %v; want %s, %v", hosts, got.Complete, tt.hosts, tt.complete)
				}
			})
		})
	}
}

func TestLiveNobodyOnline(t *testing.T) {
	c := liveServer(t, func(*websocket.Conn, string) {}, false)
	got, err := c.Queries.Results(t.Context(), LiveTicket{QueryID: 7}, time.Minute)
	if err != nil || !got.Complete || len(got.Hosts) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestLiveNeverReconnects: a second socket would share the results with the dead one.
func TestLiveNeverReconnects(t *testing.T) {
	var sockets atomic.Int32
	c := liveServer(t, func(conn *websocket.Conn, _ string) {
		sockets.Add(1)
		_ = conn.WriteMessage(websocket.BinaryMessage, []byte(`{"node":{"id":1},"data":[],"query_id":7,"status":0}`))
	}, true)
	got, err := c.Queries.Results(t.Context(), LiveTicket{QueryID: 7, Online: 2}, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "1 of 2 hosts") || len(got.Hosts) != 1 || got.Complete {
		t.Errorf("got %+v, %v", got, err)
	}
	if sockets.Load() != 1 {
		t.Errorf("%d sockets", sockets.Load())
	}
}

// TestLiveAddresses: the address is that of the release; a refused handshake lets
// the next one be tried.
func TestLiveAddresses(t *testing.T) {
	for _, path := range []string{"/esp-ui/distributed/result", "/esp-ui/websocket/distributed/result", "/distributed/result"} {
		t.Run(path, func(t *testing.T) {
			upgrader := websocket.Upgrader{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != path {
					_, _ = w.Write([]byte(htmlPage)) // the console answers everything
					return
				}
				conn, err := upgrader.Upgrade(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if _, _, err := conn.ReadMessage(); err == nil {
					_ = conn.WriteMessage(websocket.BinaryMessage, []byte(`{"node":{"id":1},"data":[],"query_id":7,"status":0}`))
				}
			}))
			t.Cleanup(server.Close)
			c, err := New(Options{URL: server.URL, BasePath: "/esp-ui/services/api/v1", Username: "u", Password: soar.SecretValue("p")})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Queries.Results(t.Context(), LiveTicket{QueryID: 7, Online: 1}, time.Minute)
			if err != nil || !got.Complete {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestLiveWithoutSocket(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	_, err := newClient(t, server.URL).Queries.Results(t.Context(), LiveTicket{QueryID: 7, Online: 1}, time.Minute)
	if !errors.Is(err, websocket.ErrBadHandshake) || !strings.Contains(err.Error(), "HTTP 404") {
		t.Errorf("got %v", err)
	}
}
