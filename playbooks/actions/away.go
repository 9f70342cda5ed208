package actions

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/erbridge/erbridge/connector"
)

// Steps wait for hosts that are offline, a thousand of them when a building loses its
// power. Each looks at its host by itself the first time. From then on one list of all
// hosts tells which of those came back, and only for these the server is asked again.

const (
	// sweepPause is how long a list of hosts serves all that wait. Steps look again
	// every 30 seconds, all at the same moment, so one list does for each of these.
	sweepPause = 20 * time.Second
	// sweepShare bounds the part of the time that is spent on reading lists: a server
	// with many hosts is asked more rarely.
	sweepShare = 20
)

// awayList knows hosts that were offline when they were looked at, and asks for all of
// them together whether they are back.
type awayList struct {
	now func() time.Time
	// read lists hosts: those that are online, or all with whether they are. With all, a
	// host that is not among them is not there any more.
	read func(ctx context.Context) (online map[Host]bool, all bool, err error)

	mu   sync.Mutex
	away map[Host]bool // by folded identifier, as online; guarded by mu

	reading chan struct{} // has one place, for who reads the list and what follows
	online  map[Host]bool
	all     bool
	err     error
	next    time.Time // when the list is too old
}

func newAwayList(now func() time.Time, read func(ctx context.Context) (map[Host]bool, bool, error)) *awayList {
	return &awayList{now: now, read: read, away: map[Host]bool{}, reading: make(chan struct{}, 1)}
}

// folded is an identifier as the server compares it, without case.
func folded(identifier string) Host { return Host(strings.ToUpper(identifier)) }

// left notes that a host was found offline.
func (l *awayList) left(host Host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away[folded(string(host))] = true
}

// still tells whether a host that was found offline is so still. One that was not is
// for its caller to look at.
func (l *awayList) still(ctx context.Context, host Host) (bool, error) {
	host = folded(string(host))
	l.mu.Lock()
	away := l.away[host]
	l.mu.Unlock()
	if !away {
		return false, nil
	}
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	case <-ctx.Done():
		return true, context.Cause(ctx)
	}
	if begun := l.now(); !begun.Before(l.next) {
		l.online, l.all, l.err = l.read(ctx)
		if ctx.Err() != nil { // its own time was over, not the server's fault
			return true, context.Cause(ctx)
		}
		l.next = begun.Add(max(sweepPause, sweepShare*l.now().Sub(begun)))
	}
	if l.err != nil {
		return true, l.err
	}
	if online, listed := l.online[host]; online || l.all && !listed {
		l.mu.Lock()
		delete(l.away, host)
		l.mu.Unlock()
		return false, nil
	}
	return true, nil
}

// readChannels lists the hosts as the response channel sees them.
// API: GET /response/status/all.
func (d *Deps) readChannels(ctx context.Context) (online map[Host]bool, all bool, err error) {
	rows, err := d.Client.Responses.StatusAll(ctx)
	if _, malformed := errors.AsType[*connector.MalformedError](err); err != nil && !malformed {
		return nil, false, err
	}
	online = make(map[Host]bool, len(rows))
	for _, row := range rows {
		online[folded(row.Identifier)] = row.EndpointOnline
	}
	return online, err == nil, nil
}

// readOnline lists the hosts that are online, on servers that have no response channel
// too.
func (d *Deps) readOnline(ctx context.Context) (online map[Host]bool, all bool, err error) {
	online = map[Host]bool{}
	for row, err := range d.Client.Hosts.List(ctx, connector.HostQuery{Online: new(true), Brief: true, Limit: 1000}) {
		if _, malformed := errors.AsType[*connector.MalformedError](err); malformed {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		online[folded(row.Identifier)] = true
	}
	return online, false, nil
}
