package connector

import (
	"context"
	"fmt"
	"strconv"
	"time"
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
	collector := &liveCollector{ticket: t, results: results, at: make(map[string]int)}
	if collector.complete() {
		results.Complete = true // nobody was asked
		return results, nil
	}
	inner, cancel := liveDeadline(ctx, deadline)
	defer cancel()
	base, err := s.c.Base(inner)
	if err != nil {
		return results, fmt.Errorf("live results of query %d: %w", t.QueryID, err)
	}
	conn, err := s.c.dialer.dialAny(inner, liveURLs(base, "/distributed/result", "/websocket/distributed/result"))
	if err != nil {
		return results, fmt.Errorf("live results of query %d: %w", t.QueryID, err)
	}
	err = listen(inner, conn, strconv.FormatInt(t.QueryID, 10), collector.take)
	results = collector.results
	results.Complete = err == nil
	if err = liveEnd(ctx, inner, err); err != nil {
		err = fmt.Errorf("live results of query %d: connection lost with %d of %d hosts heard: %w", t.QueryID, len(results.Hosts), t.Online, err)
	}
	return results, err
}

// liveCollector reads the frames of one query. It belongs to one goroutine.
type liveCollector struct {
	ticket  LiveTicket
	results LiveResults
	at      map[string]int // host to its index in results.Hosts
}

func (l *liveCollector) complete() bool { return len(l.results.Hosts) >= l.ticket.Online }

// take reads a frame. Results are JSON, in binary frames as a rule; the
// acknowledgement is a sentence.
func (l *liveCollector) take(body []byte) (all bool) {
	v, err := parse(body)
	node := v.at("node")
	queryID := v.at("query_id").id()
	if err != nil || !node.isObject() || queryID != 0 && queryID != l.ticket.QueryID {
		return false
	}
	l.keep(HostRows{
		NodeID:     node.at("id").id(),
		Name:       node.at("name").text(),
		Identifier: node.at("host_identifier").text(),
		Rows:       columnRows(v.at("data")),
		Failed:     v.at("status").id() != 0,
	})
	return l.complete()
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
