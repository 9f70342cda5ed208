package connector

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
)

func init() { routes = append(routes, hostRoutes...) }

// hostOf is the host that a recording has in its body.
func hostOf(ex *exchange) string {
	if id := ex.int("node_id"); id != 0 {
		return strconv.Itoa(id)
	}
	return ex.text("host_identifier")
}

// hostRoutes are the calls of the sections Hosts and Tags beside those that came first.
var hostRoutes = []route{
	{"GET", "/hosts/export", "Hosts.ExportAll", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		var out bytes.Buffer
		n, err := c.Hosts.ExportAll(ctx, &out)
		if err == nil && (n != int64(out.Len()) || !bytes.Equal(out.Bytes(), ex.answer)) {
			err = errDiffers
		}
		return out.String(), err
	}},
	{"GET", "/hosts/{}/alerts/distribution", "Hosts.AlertDistribution", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return c.Hosts.AlertDistribution(ctx, p[0])
	}},
	{"POST", "/hosts/additional_config", "Hosts.AdditionalConfig", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return result(c.Hosts.AdditionalConfig(ctx, hostOf(ex)))
	}},
	{"POST", "/hosts/config", "Hosts.FullConfig", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		config, err := c.Hosts.FullConfig(ctx, hostOf(ex))
		return config, errors.Join(ours(err), sameData(ex, err, map[string]any{"options": config.Options, "file_paths": config.Other["file_paths"]}))
	}},
	{"POST", "/hosts/recent_activity/count", "Hosts.ActivityCount", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return result(c.Hosts.ActivityCount(ctx, hostOf(ex)))
	}},
	{"POST", "/hosts/recent_activity", "Hosts.ActivityPage", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		page, err := c.Hosts.ActivityPage(ctx, hostOf(ex), ActivityQuery{
			Query: ex.text("query_name"), Search: ex.text("searchterm"), Start: int64(ex.int("start")), Limit: ex.int("limit"),
		})
		return page, errors.Join(ours(err), sameRows(ex, err, page, func(e ActivityEvent) map[string]any {
			return map[string]any{"id": e.ID, "action": e.Action, "columns": e.Columns}
		}))
	}},
	{"POST", "/hosts/search/export", "Hosts.ExportActivity", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return result(c.Hosts.ExportActivity(ctx, hostOf(ex), ActivityExport{Query: ex.text("query_name")}, io.Discard))
	}},
	{"PUT", "/hosts/{}/delete", "Hosts.Deactivate", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return nil, c.Hosts.Deactivate(ctx, p[0])
	}},
	{"DELETE", "/hosts/{}/delete", "Hosts.Delete", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return nil, c.Hosts.Delete(ctx, p[0], DeleteForGood)
	}},
	{"PUT", "/hosts/{}/enable", "Hosts.Reactivate", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return nil, c.Hosts.Reactivate(ctx, p[0])
	}},
	{"POST", "/hosts/status_logs", "Hosts.StatusLogPage", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		page, err := c.Hosts.StatusLogPage(ctx, hostOf(ex), StatusLogQuery{Start: ex.int("start"), Limit: ex.int("limit")})
		return page, errors.Join(ours(err), sameRows(ex, err, page, func(l StatusLog) map[string]any {
			return map[string]any{"line": l.Line, "message": l.Message, "severity": l.Severity, "filename": l.Filename, "version": l.Version}
		}))
	}},
	{"GET", "/tags", "Tags.Page", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		start, _ := strconv.Atoi(ex.query.Get("start"))
		page, err := c.Tags.Page(ctx, TagQuery{Start: start})
		return page, errors.Join(ours(err), sameRows(ex, err, page, func(t Tag) map[string]any {
			return map[string]any{"value": t.Name, "nodes": t.Hosts, "packs": t.Packs, "queries": t.Queries, "file_paths": t.FilePaths}
		}))
	}},
	{"POST", "/tags/add", "Tags.Add", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return nil, ours(c.Tags.Add(ctx, ex.text("tag")))
	}},
	{"POST", "/tags/delete", "Tags.Delete", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return nil, ours(c.Tags.Delete(ctx, ex.text("tag"), DeleteForGood))
	}},
	{"POST", "/tags/tagged", "Tags.Tagged", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return result(c.Tags.Tagged(ctx, ex.text("tags")))
	}},
}
