package connector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// maxLiveWait is when the server gives up on a live query.
	maxLiveWait = 10 * time.Minute
	// pingInterval keeps the socket open: proxies cut idle ones after 60 s.
	pingInterval = 20 * time.Second
	// maxLiveBytes bounds all results of one query.
	maxLiveBytes = 64 << 20
)

// LiveResults are the answers to a live query.
type LiveResults struct {
	// Hosts holds one entry for each host that answered, in the order of arrival.
	Hosts []HostRows
	// Online is how many hosts were asked.
	Online int
	// Complete reports whether all of them answered.
	Complete bool
}

// HostRows are the rows of one host.
type HostRows struct {
	NodeID     int64
	Identifier string // empty on releases that do not tell it
	Name       string
	// Failed reports that the query failed on the host, not that it has no rows.
	Failed bool
	Rows   []map[string]string
}

// Results waits for the answers to a live query, at most until deadline or ten
// minutes, when the server forgets them. Not all hosts answering in time is no
// error: Complete is false then. With an error, what has come so far is returned
// all the same.
//
// It opens one socket and never a second: two share the results between them, and
// the server goes on feeding one that has died. So call it once for a ticket.
//
// Rows with a null in them are missing: the server drops them.
//
// API: websocket distributed/result (REST guide 4.0.0, "Get query results").
func (s *QueriesService) Results(ctx context.Context, t LiveTicket, deadline time.Duration) (results LiveResults, err error) {
	defer s.c.metrics.observe("ws-distributed-result", time.Now(), &err)
	results.Online = t.Online
	if t.QueryID == 0 {
		return results, fmt.Errorf("live results: %w: query id is 0", ErrInvalid)
	}
	if deadline <= 0 || deadline > maxLiveWait {
		deadline = maxLiveWait
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()

	conn, err := s.dial(ctx)
	if err != nil {
		return results, fmt.Errorf("live results of query %d: %w", t.QueryID, err)
	}
	collector := &liveCollector{ticket: t, results: results, at: make(map[string]int)}
	err = collector.run(ctx, conn)
	switch {
	case outer.Err() != nil:
		err = context.Cause(outer)
	case ctx.Err() != nil:
		err = nil // the deadline: partial results
	}
	if err != nil {
		err = fmt.Errorf("live results of query %d: %w", t.QueryID, err)
	}
	return collector.results, err
}

// dial opens the socket at the first address that has one. A refused handshake
// opens nothing on the server, so the next address may be tried.
func (s *QueriesService) dial(ctx context.Context) (*websocket.Conn, error) {
	base, err := s.c.Base(ctx)
	if err != nil {
		return nil, err
	}
	for _, address := range liveURLs(base) {
		var conn *websocket.Conn
		if conn, err = s.c.dialer.dial(ctx, address); err == nil {
			return conn, nil
		}
		if !errors.Is(err, websocket.ErrBadHandshake) {
			return nil, err
		}
	}
	return nil, err
}

// liveURLs derives the socket's addresses from the base. Release 4.0 has it below
// the prefix of the API, with an alias; 2.x at the root of the host.
func liveURLs(base string) []string {
	prefix := strings.TrimSuffix(base, "/services/api/v1")
	if scheme, rest, ok := strings.Cut(prefix, "://"); ok {
		prefix = strings.Replace(scheme, "http", "ws", 1) + "://" + rest
	}
	list := []string{prefix + "/distributed/result", prefix + "/websocket/distributed/result"}
	if u, err := url.Parse(prefix); err == nil && u.Path != "" {
		list = append(list, u.Scheme+"://"+u.Host+"/distributed/result")
	}
	return list
}

// liveDialer opens websockets with the TLS options of the client.
type liveDialer struct {
	ws    websocket.Dialer
	agent string
}

func newLiveDialer(tlsConfig *tls.Config, agent string) *liveDialer {
	return &liveDialer{agent: agent, ws: websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		TLSClientConfig:  tlsConfig,
		HandshakeTimeout: 15 * time.Second,
	}}
}

func (l *liveDialer) dial(ctx context.Context, address string) (*websocket.Conn, error) {
	conn, resp, err := l.ws.DialContext(ctx, address, http.Header{"User-Agent": {l.agent}})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("open websocket: %w (HTTP %d)", err, resp.StatusCode)
		}
		return nil, fmt.Errorf("open websocket: %w", plainError(err))
	}
	return conn, nil
}

// liveCollector reads the frames of one query. It belongs to one goroutine.
type liveCollector struct {
	ticket  LiveTicket
	results LiveResults
	at      map[string]int // host to its index in results.Hosts
	bytes   int64
}

// run sends the query id and reads frames until all hosts have answered or ctx
// ends. It closes the socket.
func (l *liveCollector) run(ctx context.Context, conn *websocket.Conn) error {
	var keeper sync.WaitGroup
	done := make(chan struct{})
	keeper.Go(func() { keepOpen(ctx, conn, done) })
	defer keeper.Wait()
	defer close(done)

	if err := conn.WriteMessage(websocket.TextMessage, []byte(strconv.FormatInt(l.ticket.QueryID, 10))); err != nil {
		return fmt.Errorf("ask for results: %w", err)
	}
	for !l.complete() {
		_, frame, err := conn.NextReader()
		if err != nil {
			return fmt.Errorf("connection lost with %d of %d hosts heard: %w", len(l.results.Hosts), l.ticket.Online, err)
		}
		body, err := io.ReadAll(io.LimitReader(frame, maxLiveBytes-l.bytes+1))
		if err != nil {
			return fmt.Errorf("connection lost within a result: %w", err)
		}
		if l.bytes += int64(len(body)); l.bytes > maxLiveBytes {
			return fmt.Errorf("results are larger than %d MiB", maxLiveBytes>>20)
		}
		l.take(body)
	}
	l.results.Complete = true
	return nil
}

// keepOpen pings until done and closes the socket when ctx ends, which ends the
// read, or at done.
func keepOpen(ctx context.Context, conn *websocket.Conn, done <-chan struct{}) {
	defer conn.Close()
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		select {
		case <-ping.C:
			// An error shows up in the read as well.
			_ = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(5*time.Second))
			continue
		case <-done:
		case <-ctx.Done():
		}
		_ = conn.WriteControl(websocket.CloseMessage,
			websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
		return
	}
}

func (l *liveCollector) complete() bool { return len(l.results.Hosts) >= l.ticket.Online }

// take reads a frame. Results are JSON, in binary frames as a rule; the
// acknowledgement is a sentence.
func (l *liveCollector) take(body []byte) {
	v, err := parse(body)
	node := v.at("node")
	queryID := v.at("query_id").id()
	if err != nil || !node.isObject() || queryID != 0 && queryID != l.ticket.QueryID {
		return
	}
	l.keep(HostRows{
		NodeID:     node.at("id").id(),
		Name:       node.at("name").text(),
		Identifier: node.at("host_identifier").text(),
		Rows:       columnRows(v.at("data")),
		Failed:     v.at("status").id() != 0,
	})
}

// keep remembers the answer of a host. A host that is asked twice, by name and by
// tag, answers twice: the second counts if the first failed.
func (l *liveCollector) keep(h HostRows) {
	key := strconv.FormatInt(h.NodeID, 10)
	if h.NodeID == 0 {
		key = h.Identifier + "/" + h.Name
	}
	i, known := l.at[key]
	if !known {
		if h.Identifier == "" {
			h.Identifier = l.identifier(h.NodeID)
		}
		l.at[key] = len(l.results.Hosts)
		l.results.Hosts = append(l.results.Hosts, h)
		return
	}
	if l.results.Hosts[i].Failed && !h.Failed {
		h.Identifier = l.results.Hosts[i].Identifier
		l.results.Hosts[i] = h
	}
}

// identifier looks up what release 2.1.2 leaves out of the frame.
func (l *liveCollector) identifier(nodeID int64) string {
	for _, h := range l.ticket.Hosts {
		if h.NodeID == nodeID && nodeID != 0 {
			return h.Identifier
		}
	}
	return ""
}
