package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/catalogue"
)

// poll reads one alert, as the poller would.
func (d *doctor) poll(ctx context.Context) finding {
	page, err := d.client.Alerts.Page(ctx, connector.AlertQuery{Limit: 1})
	if err != nil {
		return failure(err, "without the alert list no alert comes in")
	}
	found := fmt.Sprintf("the alert list answers, with %s that are open", number(page.Count, "alert"))
	if len(page.Malformed) > 0 {
		return finding{Warn, found + "; the newest cannot be read: " + page.Malformed[0].Reason, "erbridge keeps such alerts as dead letters; tell its makers"}
	}
	if len(page.Results) > 0 {
		found += fmt.Sprintf("; the newest is %d", page.Results[0].ID)
	}
	return finding{OK, found, ""}
}

// expected reports whether a server of the guessed release and edition has a call.
func (d *doctor) expected(c *catalogue.Call) bool {
	s := d.server
	switch {
	case c.Enterprise() && !s.enterprise, c.Base == catalogue.V0 && !s.v0, c.Base == catalogue.V1 && d.speaksV0():
		return false
	}
	return c.Since <= s.release && (c.Until == "" || s.release <= c.Until)
}

// probing is how many probes are under way at once.
const probing = 4

// endpoints looks for every documented call that reads. None of them is made: the
// server tells by its refusal of a call without a token that it has the call.
func (d *doctor) endpoints(ctx context.Context) finding {
	if tells, err := d.client.HasNothing(ctx); err != nil {
		return failure(err, "try again")
	} else if !tells {
		return finding{Skip, "the server answers to a path that nobody has as to any other", ""}
	}
	var calls []*catalogue.Call
	left := 0
	for _, s := range catalogue.Sections() {
		for i := range s.Calls {
			c := &s.Calls[i]
			switch {
			case c.Effect != catalogue.Reads || c.Open || c.Base == catalogue.Server:
			case d.expected(c):
				calls = append(calls, c)
			default:
				left++
			}
		}
	}
	missing, err := d.missing(ctx, calls)
	if err != nil {
		return failure(err, "try again")
	}
	found := fmt.Sprintf("%d of %s that read are there", len(calls)-len(missing), number(len(calls), "documented call"))
	if left > 0 {
		found += fmt.Sprintf("; %d belong to other releases and editions", left)
	}
	if len(missing) == 0 {
		return finding{OK, found, ""}
	}
	return finding{Warn, found + "; missing: " + grouped(missing), "what is missing here, erbridge cannot do; is a proxy before the server keeping it back?"}
}

// missing are those of the calls that the server does not have, in their order.
func (d *doctor) missing(ctx context.Context, calls []*catalogue.Call) ([]*catalogue.Call, error) {
	has := make([]bool, len(calls))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan int) // no buffer: a probe is given out when somebody can make it
	var probes sync.WaitGroup
	for range probing {
		probes.Go(func() {
			for i := range next {
				var err error
				if has[i], err = d.client.Has(ctx, calls[i]); err != nil {
					stop(err) // the others would be of the same kind
				}
			}
		})
	}
	for i := range calls {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	probes.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var missing []*catalogue.Call
	for i, c := range calls {
		if !has[i] {
			missing = append(missing, c)
		}
	}
	return missing, nil
}

// grouped names calls by their section.
func grouped(calls []*catalogue.Call) string {
	var sections []string
	ids := map[string][]string{}
	for _, c := range calls {
		if ids[c.Section] == nil {
			sections = append(sections, c.Section)
		}
		ids[c.Section] = append(ids[c.Section], c.ID)
	}
	for i, name := range sections {
		sections[i] = name + " (" + strings.Join(ids[name], ", ") + ")"
	}
	return strings.Join(sections, ", ")
}

func (d *doctor) hosts(ctx context.Context) finding {
	counts, err := d.client.Hosts.Count(ctx)
	if err != nil {
		return failure(err, "look at the log of the server")
	}
	online, total := 0, 0
	var platforms []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		n := counts[name]
		online, total = online+n.Online, total+n.Online+n.Offline
		if n.Online+n.Offline > 0 {
			platforms = append(platforms, fmt.Sprintf("%s %d", name, n.Online+n.Offline))
		}
	}
	found := fmt.Sprintf("%d of %s online", online, number(total, "host"))
	switch {
	case total == 0:
		return finding{Warn, "the server knows no hosts", "put agents on hosts; without them there are no alerts"}
	case online == 0:
		return finding{Warn, found, "look at the server's port 9000, which agents connect to"}
	}
	return finding{OK, found + " (" + strings.Join(platforms, ", ") + ")", ""}
}

// response counts the hosts that take response actions.
func (d *doctor) response(ctx context.Context) finding {
	switch {
	case d.speaksV0():
		return finding{Skip, "API v0 does not tell which hosts take response actions", ""}
	case !d.server.enterprise:
		return finding{Skip, "the Community edition has no response actions", ""}
	}
	channels, err := d.client.Responses.StatusAll(ctx)
	switch {
	case errors.Is(err, connector.ErrUnavailable):
		return finding{Skip, said(err), ""}
	case err != nil:
		return failure(err, "look at the log of the server")
	}
	enabled, reachable := 0, 0
	for _, c := range channels {
		if c.ResponseEnabled {
			enabled++
			if c.EndpointOnline {
				reachable++
			}
		}
	}
	found := fmt.Sprintf("enabled on %d of %s, %d of them online", enabled, number(len(channels), "host"), reachable)
	if enabled == 0 {
		return finding{Warn, found, "set custom_plgx_EnableRespServer in the options of the agents' configuration"}
	}
	return finding{OK, found, ""}
}
