package ersim

import (
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

// socket is a websocket of the server: the client says in a text frame what it wants
// to hear of, gets a sentence in a text frame, and then binary frames of JSON. No
// token is asked for.
type socket struct {
	id       string // as in the endpoint catalogue
	path     string
	sentence string // before what the client said
	// serve writes the frames until there are no more or gone is closed.
	serve func(conn *websocket.Conn, wanted string, gone <-chan struct{})
}

// socketTable lists the websockets of the profile.
func (s *Server) socketTable() []socket {
	var table []socket
	sentence := "Fetching results for query with query id: "
	if !s.profile.v4 {
		sentence = "Fetching results for query with query id : " // observed
	}
	for _, path := range s.profile.sockets {
		table = append(table, socket{"ws-distributed-result", path, sentence, s.serveQuery})
	}
	if s.profile.v4 {
		table = append(table, socket{"ws-csv-export", "/esp-ui/websocket/csv/export", "Fetching results for task with id: ", s.serveExport})
	}
	if s.profile.v4 && s.profile.enterprise {
		// The guide names the addresses of live queries here; this one is that of the
		// vendor's own console.
		table = append(table, socket{"ws-live-response", "/esp-ui/websocket/action/result", "Fetching results for command with command id : ", s.serveOutput})
	}
	return table
}

// socketAt is the websocket at a path, nil if there is none.
func (s *Server) socketAt(path string) *socket {
	for _, one := range s.socketTable() {
		if one.path == path {
			return &one
		}
	}
	return nil
}

// serveSocket takes a client in, hears what it wants and serves it.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request, one *socket) {
	effect := s.meet(one.id, r.URL.Path)
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
	wanted := strings.TrimSpace(string(message))
	if err := conn.WriteMessage(websocket.TextMessage, []byte(one.sentence+wanted)); err != nil {
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
	one.serve(conn, wanted, gone)
	_ = conn.Close() // ends the reader
	reader.Wait()
}

// hangUp takes a websocket and ends it without a word, as release 2.1.2 was observed
// to do below the API's paths.
func (s *Server) hangUp(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.log.Debug("websocket refused", "err", err) // the upgrader has answered
		return
	}
	_ = conn.Close() // nothing is left to lose
}

// serveQuery sends the results of a live query, a frame for each host that answers.
func (s *Server) serveQuery(conn *websocket.Conn, wanted string, gone <-chan struct{}) {
	id, _ := strconv.ParseInt(wanted, 10, 64) // there is no query 0
	if l := s.listen(id); l != nil {
		s.serveFrames(conn, l, gone)
	} else if !s.profile.v4 {
		<-gone // release 2.1.2 stays silent, 4.0 closes
	}
}

// serveFrames writes frames until either side has had enough.
func (s *Server) serveFrames(conn *websocket.Conn, l *listener, gone <-chan struct{}) {
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
