package connector

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// oldAlert is a row of the alert list and what it says.
type oldAlert struct {
	row   value
	alert Alert
}

func (o *oldAPI) listAlerts(ctx context.Context, k call, in value) (any, error) {
	if err := understood(k, in, "start", "limit", "resolved", "source", "rule_id", "host_identifier", "severity", "verdict", "query_name",
		"searchterm", "event_ids", "events_count", "start_date", "end_date", "column", "order_by"); err != nil {
		return nil, err
	}
	order, err := alertOrder(k, in)
	if err != nil {
		return nil, err
	}
	// The open and the resolved alerts of v1 are one list in v0.
	host := in.at("host_identifier").text()
	all, err := o.alerts.page(ctx, host, in.at("start").count(), in.at("resolved").truth(), func(ctx context.Context) ([]oldAlert, error) {
		return o.readAlerts(ctx, k, host)
	})
	if err != nil {
		return nil, err
	}
	wanted := alertFilter(in)
	chosen := make([]oldAlert, 0, len(all))
	for i := range all {
		// What is no alert at all belongs to every list, to be told as malformed.
		if !all[i].row.isObject() || wanted(&all[i].alert) {
			chosen = append(chosen, all[i])
		}
	}
	slices.SortStableFunc(chosen, func(a, b oldAlert) int { return order(&a.alert, &b.alert) })
	list := make([]value, len(chosen))
	for i := range chosen {
		list[i] = chosen[i].row
	}
	return pageOf(list, in), nil
}

// alertOrder is the order that a call asks for; newest first without one.
func alertOrder(k call, in value) (func(a, b *Alert) int, error) {
	newest := func(a, b *Alert) int { return cmp.Compare(b.ID, a.ID) }
	column := in.at("column").text()
	if column == "" {
		return newest, nil
	}
	text, ok := map[string]func(*Alert) string{
		"hostname":   func(a *Alert) string { return a.Hostname },
		"severity":   func(a *Alert) string { return a.Severity },
		"rule":       func(a *Alert) string { return a.RuleName },
		"status":     func(a *Alert) string { return a.Status },
		"created_at": func(a *Alert) string { return a.CreatedAt.Format(time.RFC3339Nano) },
	}[column]
	if !ok {
		return nil, understood(k, value{v: map[string]any{"column " + clip(column, 64): true}})
	}
	return func(a, b *Alert) int {
		order := strings.Compare(strings.ToLower(text(a)), strings.ToLower(text(b)))
		if in.at("order_by").text() == "desc" {
			order = -order
		}
		return cmp.Or(order, newest(a, b))
	}, nil
}

// alertFilter does what the filters of v1 do.
func alertFilter(in value) func(*Alert) bool {
	among := func(list value, text string) bool {
		texts := list.texts()
		return len(texts) == 0 || slices.Contains(texts, text)
	}
	since, until := in.at("start_date").time(), in.at("end_date").time()
	return func(a *Alert) bool {
		switch {
		case in.has("resolved") && in.at("resolved").truth() != (normalStatus(a.Status) == soar.StatusResolved),
			!since.IsZero() && a.CreatedAt.Before(since),
			!until.IsZero() && !a.CreatedAt.Before(until.AddDate(0, 0, 1)),
			in.at("query_name").text() != "" && in.at("query_name").text() != a.QueryName:
			return false
		}
		return among(in.at("source"), a.Source) &&
			among(in.at("rule_id"), strconv.FormatInt(a.RuleID, 10)) &&
			among(in.at("severity"), strings.ToLower(a.Severity)) &&
			among(in.at("verdict"), cmp.Or(normalVerdict(a.Verdict), "open")) &&
			among(in.at("event_ids"), strconv.FormatInt(a.ID, 10)) &&
			mentions(in.at("searchterm").text(), a.Hostname, a.RuleName, a.Severity)
	}
}

// readAlerts reads all alerts, or those of one host.
func (o *oldAPI) readAlerts(ctx context.Context, k call, host string) ([]oldAlert, error) {
	hosts, err := o.allHosts(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(hosts))
	asked := make([]string, 0, len(hosts))
	for _, v := range hosts {
		names[v.at("id").text()] = readHost(v).Name
		if id := v.at("host_identifier").text(); id != "" && (host == "" || id == host) {
			asked = append(asked, id)
		}
	}
	if host != "" && len(asked) == 0 {
		return nil, absentIn(k, "no host "+strconv.Quote(clip(host, 128)))
	}
	rows, err := o.alertsOf(ctx, host, asked)
	if err != nil {
		return nil, err
	}
	list := make([]oldAlert, 0, len(rows))
	for _, row := range rows {
		if name := names[row.at("node_id").text()]; name != "" && !row.has("hostname") {
			row = altered(row, map[string]any{"hostname": name})
		}
		list = append(list, oldAlert{row, readAlert(row)})
	}
	return list, nil
}

// alertsOf reads the alerts of one host, or of all. A server may refuse to list
// alerts of no host in particular (observed on release 2.1.2); then each host is
// asked for.
func (o *oldAPI) alertsOf(ctx context.Context, host string, hosts []string) ([]value, error) {
	if host == "" {
		rows, err := o.alertsBy(ctx, V0AlertQuery{})
		if !errors.Is(err, ErrRefused) {
			return rows, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var all []value
	todo := make(chan string)
	var workers sync.WaitGroup
	for range min(o.c.o.MaxConcurrent, len(hosts)) {
		workers.Go(func() {
			for one := range todo {
				rows, err := o.alertsBy(ctx, V0AlertQuery{Host: one})
				// A host without alerts is refused in words that change.
				if err != nil && !errors.Is(err, ErrRefused) {
					cancel(err)
					return
				}
				mu.Lock()
				all = append(all, rows...)
				mu.Unlock()
			}
		})
	}
feed:
	for _, one := range hosts {
		select {
		case todo <- one:
		case <-ctx.Done():
			break feed
		}
	}
	close(todo)
	workers.Wait()
	return all, context.Cause(ctx)
}

func (o *oldAPI) alertsBy(ctx context.Context, q V0AlertQuery) (rows []value, err error) {
	return o.whole(ctx, callV0Alerts, q.arguments(), tidyAlert)
}

func (o *oldAPI) getAlert(ctx context.Context, k call, _ value) (any, error) {
	id, err := strconv.ParseInt(k.parts[0], 10, 64)
	if err != nil {
		return nil, absentIn(k, "no alert "+strconv.Quote(clip(k.parts[0], 64)))
	}
	if id < leastDerivedID {
		twin, err := callV0AlertsData.with(k.parts[0])
		if err != nil {
			return nil, err
		}
		var found value
		err = o.c.do(ctx, twin, nil, data(func(v value) { found = tidyAlert(alertObject(v)) }))
		if !errors.Is(err, ErrUnavailable) { // the call came late
			return o.named(ctx, found).v, err
		}
	}
	all, err := o.readAlerts(ctx, k, "")
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(one oldAlert) bool { return one.alert.ID == id }); i >= 0 {
		return all[i].row.v, nil
	}
	return nil, absentIn(k, "no alert "+k.parts[0])
}

// named adds the name of an alert's host, where it can be found out.
func (o *oldAPI) named(ctx context.Context, row value) value {
	if row.has("hostname") || !row.has("node_id") {
		return row
	}
	all, err := o.allHosts(ctx)
	if err != nil {
		return row // the alert goes without
	}
	for _, v := range all {
		if name := readHost(v).Name; name != "" && v.at("id").text() == row.at("node_id").text() {
			return altered(row, map[string]any{"hostname": name})
		}
	}
	return row
}
