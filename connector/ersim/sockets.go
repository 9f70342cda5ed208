package ersim

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

// sockets are the open websockets, which http.Server no longer knows.
type sockets struct {
	mu     sync.Mutex
	conns  map[*websocket.Conn]bool
	closed bool
	served sync.WaitGroup // one for each socket in conns
}

// add takes a socket in; false means that the server is stopping.
func (set *sockets) add(conn *websocket.Conn) bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	if set.closed {
		return false
	}
	if set.conns == nil {
		set.conns = map[*websocket.Conn]bool{}
	}
	set.conns[conn] = true
	set.served.Add(1)
	return true
}

func (set *sockets) remove(conn *websocket.Conn) {
	set.mu.Lock()
	defer set.mu.Unlock()
	delete(set.conns, conn)
	set.served.Done()
}

// closeAll cuts the sockets and waits until their handlers have returned.
func (set *sockets) closeAll() {
	set.mu.Lock()
	set.closed = true
	for conn := range set.conns {
		_ = conn.Close() // its handler sees the error
	}
	set.mu.Unlock()
	set.served.Wait()
}

// maxSocketMessage bounds what a client may send: a number.
const maxSocketMessage = 1 << 10

// upgrader takes any origin, as the server does: there is no authentication either.
var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// serveSocket is the live-query websocket: the client sends the query's id as text
// and gets a text frame, then a binary frame for each host that answers. No token
// is asked for.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	effect := s.meet("ws-distributed-result", r.URL.Path)
	if instead := effect.before(w, r); instead != nil {
		instead.write(w, r, false)
		return
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.log.Debug("websocket refused", "err", err) // the upgrader has answered
		return
	}
	defer func() { _ = conn.Close() }() // nothing is left to lose
	if !s.sockets.add(conn) {
		return
	}
	defer s.sockets.remove(conn)
	conn.SetReadLimit(maxSocketMessage)
	_, message, err := conn.ReadMessage()
	if err != nil {
		return
	}
	text := strings.TrimSpace(string(message))
	ack := fmt.Appendf(nil, "Fetching results for query with query id : %s", text)
	if err := conn.WriteMessage(websocket.TextMessage, ack); err != nil {
		return
	}
	effect.after() // a dropped socket: nothing was taken from the queue

	gone := make(chan struct{}) // closed when the client went away
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(gone)
		for {
			if _, _, err := conn.NextReader(); err != nil {
				return
			}
		}
	})
	id, _ := strconv.ParseInt(text, 10, 64) // there is no query 0
	if l := s.listen(id); l != nil {
		s.serveResults(conn, l, gone)
	} else if !s.profile.v4 {
		<-gone // release 2.1.2 stays silent, 4.0 closes
	}
	_ = conn.Close() // ends the reader
	reader.Wait()
}

// serveResults writes frames until either side has had enough.
func (s *Server) serveResults(conn *websocket.Conn, l *listener, gone <-chan struct{}) {
	for {
		frames, ended := s.takeFrames(l)
		for i, frame := range frames {
			if err := conn.WriteMessage(websocket.BinaryMessage, frame); err != nil {
				s.leave(l, frames[i:])
				return
			}
		}
		if ended {
			return
		}
		select {
		case <-gone:
			s.leave(l, nil)
			return
		case <-l.wake:
		}
	}
}
