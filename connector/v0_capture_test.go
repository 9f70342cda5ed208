package connector

import (
	"context"
	"errors"
)

// routesV0 are the client's calls for recordings of API v0.
var routesV0 = []route{
	{"GET", "/nodes/", "V0.Nodes", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		page, err := c.V0.Nodes(ctx, V0NodeQuery{})
		return page, errors.Join(err, sameRows(ex, err, page, func(h Host) map[string]any {
			return map[string]any{"id": h.ID, "host_identifier": h.Identifier, "tags": h.Tags}
		}))
	}},
	{"POST", "/alerts/", "V0.Alerts", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		page, err := c.V0.Alerts(ctx, V0AlertQuery{Host: ex.text("host_identifier"), QueryName: ex.text("query_name"), RuleID: int64(ex.int("rule_id"))})
		return page, errors.Join(err, sameRows(ex, err, page, func(a Alert) map[string]any {
			return map[string]any{"query_name": a.QueryName, "node_id": a.NodeID, "message": a.Columns}
		}))
	}},
}
