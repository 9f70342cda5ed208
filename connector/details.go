package connector

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const (
	detailsTimeout = 5 * time.Second  // for one record; an alert does not wait longer
	detailsFor     = 10 * time.Minute // how long a host or rule record is good
	detailsMissing = time.Minute      // how long a record that could not be read is not asked for again
	hostsListed    = 500              // page size when the whole host list is read
	hostsAtOnce    = 3                // unknown hosts after which the whole list is read
)

// details keeps host and rule records, which alerts only name by number. A record
// that cannot be read never holds an alert up: the alert goes on with what it has.
type details struct {
	client *Client
	env    SourceEnv

	mu     sync.Mutex // held while a record is read, so that it is read once
	hosts  map[int64]kept[Host]
	rules  map[int64]kept[Rule]
	misses int       // single hosts read since the list
	listed time.Time // when the whole host list was read
	quiet  time.Time // until when nothing is asked, because the server was too slow
}

type kept[T any] struct {
	record *T // nil: could not be read
	until  time.Time
}

func newDetails(client *Client, env SourceEnv) *details {
	return &details{client: client, env: env, hosts: map[int64]kept[Host]{}, rules: map[int64]kept[Rule]{}}
}

// normalize makes the alert that the rest of erbridge sees.
func (d *details) normalize(ctx context.Context, server string, row *Alert) soar.Alert {
	// Others share what is read here: a caller that hangs up must not leave them
	// without it.
	ctx = context.WithoutCancel(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	return Normalize(server, d.client.ConsoleURL(), *row, d.host(ctx, row.NodeID), d.rule(ctx, row))
}

func (d *details) host(ctx context.Context, id int64) *Host {
	if id == 0 {
		return nil
	}
	now := d.env.Now()
	if known, ok := d.hosts[id]; ok && now.Before(known.until) || now.Before(d.quiet) {
		return known.record
	}
	if d.misses >= hostsAtOnce && now.Sub(d.listed) > detailsMissing {
		d.list(ctx, now)
		if known, ok := d.hosts[id]; ok && now.Before(known.until) {
			return known.record
		}
	}
	d.misses++
	ctx, cancel := context.WithTimeout(ctx, detailsTimeout)
	defer cancel()
	host, err := d.client.Hosts.Get(ctx, strconv.FormatInt(id, 10))
	d.hush(ctx, now)
	return remember(d.hosts, id, &host, err, now, func() {
		d.env.Log.Warn("host record not read, the alert goes on without it", "host", id, "err", err)
	})
}

// list reads all hosts with a few calls, where many would be asked for one by one.
func (d *details) list(ctx context.Context, now time.Time) {
	d.listed, d.misses = now, 0
	ctx, cancel := context.WithTimeout(ctx, 2*detailsTimeout)
	defer cancel()
	defer d.hush(ctx, now)
	for host, err := range d.client.Hosts.List(ctx, HostQuery{Limit: hostsListed}) {
		if err != nil {
			if _, malformed := errors.AsType[*MalformedError](err); malformed {
				continue
			}
			d.env.Log.Warn("host list not read to its end", "err", err)
			return
		}
		remember(d.hosts, host.ID, &host, nil, now, nil)
	}
}

func (d *details) rule(ctx context.Context, row *Alert) *Rule {
	if row.RuleID == 0 {
		return nil
	}
	now := d.env.Now()
	if known, ok := d.rules[row.RuleID]; ok && now.Before(known.until) || now.Before(d.quiet) {
		return known.record
	}
	ctx, cancel := context.WithTimeout(ctx, detailsTimeout)
	defer cancel()
	rule, err := d.client.Rules.Get(ctx, row.RuleID)
	d.hush(ctx, now)
	return remember(d.rules, row.RuleID, &rule, err, now, func() {
		d.env.Log.Warn("rule not read, the alert goes on without its description", "rule", row.RuleID, "err", err)
	})
}

// hush stops asking for a while when the time was over: a server that hangs would
// hold up every alert by it.
func (d *details) hush(ctx context.Context, now time.Time) {
	if ctx.Err() != nil {
		d.quiet = now.Add(detailsMissing)
	}
}

// remember keeps a record, or for a shorter time that it could not be read. An old
// record is better than none.
func remember[T any](in map[int64]kept[T], id int64, record *T, err error, now time.Time, warn func()) *T {
	if err != nil {
		warn()
		record = in[id].record
		in[id] = kept[T]{record, now.Add(detailsMissing)}
		return record
	}
	in[id] = kept[T]{record, now.Add(detailsFor)}
	return record
}
