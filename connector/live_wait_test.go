package connector

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// socketHandler upgrades the calls of one path and hands the socket and what the
// client wants to serve; everything else is not found.
func socketHandler(t *testing.T, path string, serve func(conn *websocket.Conn, wanted string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, wanted, err := conn.ReadMessage(); err == nil {
			serve(conn, string(wanted))
		}
	})
}

// untilGone keeps a socket open after serve has said what it has to say, until the
// client leaves.
func untilGone(serve func(conn *websocket.Conn, wanted string)) func(conn *websocket.Conn, wanted string) {
	return func(conn *websocket.Conn, wanted string) {
		serve(conn, wanted)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}
}

const resultPath = "/esp-ui/distributed/result"

// TestLiveIdleSocketIsPinged: a proxy would cut a socket on which nothing moves for a
// minute.
func TestLiveIdleSocketIsPinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pings atomic.Int32
		c := inPipes(t, socketHandler(t, resultPath, func(conn *websocket.Conn, _ string) {
			conn.SetPingHandler(func(string) error { pings.Add(1); return nil })
			answered := time.AfterFunc(9*time.Minute+10*time.Second, func() {
				_ = conn.WriteMessage(websocket.BinaryMessage, []byte(`{"node":{"id":1},"data":[],"query_id":7,"status":0}`))
			})
			defer answered.Stop()
			for {
				if _, _, err := conn.ReadMessage(); err != nil {
					return
				}
			}
		}))
		got, err := c.Queries.Results(t.Context(), LiveTicket{QueryID: 7, Online: 1}, 0)
		if err != nil || !got.Complete || len(got.Hosts) != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
		if n := pings.Load(); n != 27 { // every 20 s
			t.Errorf("%d pings in nine minutes", n)
		}
	})
}

// TestLiveDeadline: what came until then is a partial result, and no error. The
// server keeps results for ten minutes, so that nobody listens longer.
func TestLiveDeadline(t *testing.T) {
	for _, tt := range []struct{ asked, want time.Duration }{
		{0, 10 * time.Minute}, {time.Hour, 10 * time.Minute}, {90 * time.Second, 90 * time.Second},
	} {
		t.Run(tt.asked.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inPipes(t, socketHandler(t, resultPath, func(conn *websocket.Conn, _ string) {
					_ = conn.WriteMessage(websocket.BinaryMessage, []byte(`{"node":{"id":1},"data":[],"query_id":7,"status":0}`))
					for {
						if _, _, err := conn.ReadMessage(); err != nil {
							return
						}
					}
				}))
				start := time.Now()
				got, err := c.Queries.Results(t.Context(), LiveTicket{QueryID: 7, Online: 2}, tt.asked)
				if err != nil || got.Complete || len(got.Hosts) != 1 || got.Online != 2 {
					t.Errorf("got %+v, %v", got, err)
				}
				if waited := time.Since(start); waited != tt.want {
					t.Errorf("waited %v, want %v", waited, tt.want)
				}
			})
		})
	}
}

// TestLiveServerThatNeverAnswersTheHandshake ends with the deadline, as an error:
// nobody was listened to.
func TestLiveServerThatNeverAnswersTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inPipes(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		if _, err := c.Queries.Results(t.Context(), LiveTicket{QueryID: 7, Online: 1}, 3*time.Second); err == nil {
			t.Error("no error")
		}
		if _, err := c.Responses.LiveOutput(t.Context(), Command{CommandID: "c"}, 3*time.Second, nil); err == nil {
			t.Error("no error of live output")
		}
	})
}

// TestLiveBoundsWhatComes: 64 MiB are enough for one socket.
func TestLiveBoundsWhatComes(t *testing.T) {
	blank := bytes.Repeat([]byte(" "), 1<<20)
	c := liveServer(t, func(conn *websocket.Conn, _ string) {
		_ = conn.WriteMessage(websocket.BinaryMessage, []byte(`{"node":{"id":1},"data":[],"query_id":7,"status":0}`))
		for range 70 {
			if conn.WriteMessage(websocket.BinaryMessage, blank) != nil {
				return // the client has had enough
			}
		}
	}, false)
	got, err := c.Queries.Results(t.Context(), LiveTicket{QueryID: 7, Online: 2}, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "64 MiB") || len(got.Hosts) != 1 {
		t.Errorf("got %d hosts, %v", len(got.Hosts), err)
	}
}

// TestLiveCalledOffKeepsWhatCame: the caller's own end is an error, with the partial
// result.
func TestLiveCalledOffKeepsWhatCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		c := inPipes(t, socketHandler(t, resultPath, func(conn *websocket.Conn, _ string) {
			_ = conn.WriteMessage(websocket.BinaryMessage, []byte(`{"node":{"id":1},"data":[],"query_id":7,"status":0}`))
			stop := time.AfterFunc(time.Minute, func() { cancel(cause) })
			defer stop.Stop()
			for {
				if _, _, err := conn.ReadMessage(); err != nil {
					return
				}
			}
		}))
		got, err := c.Queries.Results(ctx, LiveTicket{QueryID: 7, Online: 2}, 0)
		if !errors.Is(err, cause) || len(got.Hosts) != 1 || got.Complete {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
