package connector

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

func (o *oldAPI) listCarves(ctx context.Context, k call, in value) (any, error) {
	if err := understood(k, in, "start", "limit", "host_identifier", "searchterm", "column", "order_by"); err != nil {
		return nil, err
	}
	column := in.at("column").text()
	if column != "" && column != "created_at" && column != "hostname" {
		return nil, understood(k, value{v: map[string]any{"column " + clip(column, 64): true}})
	}
	hosts, err := o.allHosts(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(hosts))
	for _, v := range hosts {
		names[v.at("id").text()] = readHost(v).Name
	}
	var list []value
	arguments := map[string]any{}
	set(arguments, "host_identifier", in.at("host_identifier").text())
	all, err := o.whole(ctx, callV0Carves, arguments, tidyCarve)
	if err != nil {
		return nil, err
	}
	for _, carve := range all {
		if name := names[carve.at("node_id").text()]; name != "" {
			carve = altered(carve, map[string]any{"hostname": name})
		}
		if mentions(in.at("searchterm").text(), carve.at("hostname").text()) {
			list = append(list, carve)
		}
	}
	slices.SortStableFunc(list, func(a, b value) int {
		order, newest := 0, cmp.Compare(b.at("id").id(), a.at("id").id())
		switch column {
		case "hostname":
			order = cmp.Compare(a.at("hostname").text(), b.at("hostname").text())
		case "created_at":
			order = a.at("created_at").time().Compare(b.at("created_at").time())
		}
		if in.at("order_by").text() == "desc" {
			order = -order
		}
		return cmp.Or(order, newest)
	})
	return pageOf(list, in), nil
}

// carveOfQuery asks in the way of the later releases, then in that of the earlier.
func (o *oldAPI) carveOfQuery(ctx context.Context, _ call, in value) (any, error) {
	var carve value
	read := data(func(v value) { carve = tidyCarve(v) })
	err := o.c.do(ctx, callV0CarvesQuery, in.v, read)
	if errors.Is(err, ErrUnavailable) {
		k, badPath := callV0CarvesQueryPath.with(in.at("query_id").text(), in.at("host_identifier").text())
		if badPath != nil {
			return nil, badPath
		}
		err = o.c.do(ctx, k, nil, read)
	}
	return carve.v, err
}
