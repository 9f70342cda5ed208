package connector

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

func init() { routes = append(routes, configRoutes...) }

// configRoutes are the calls of the sections Config, Packs and Queries, and of the
// releases 2.x in their place.
var configRoutes = []route{
	{"POST", "/packs", "Packs.Page", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		page, err := c.Packs.Page(ctx, PackQuery{Start: ex.int("start"), Limit: ex.int("limit"), Search: ex.text("searchterm")})
		return page, ours(errors.Join(err, sameRows(ex, err, page, func(p Pack) map[string]any {
			return map[string]any{"id": p.ID, "name": p.Name, "category": p.Category, "version": p.Version, "tags": p.Tags}
		})))
	}},
	{"GET", "/packs/{}", "Packs.Get", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		pack, err := c.Packs.Get(ctx, number(p[0]))
		return pack, ours(errors.Join(err, sameData(ex, err, map[string]any{"id": pack.ID, "name": pack.Name, "category": pack.Category,
			"platform": pack.Platform, "tags": pack.Tags, "queries": pack.Names})))
	}},
	{"GET", "/packs/{}/tags", "Packs.Tags", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return result(c.Packs.Tags(ctx, p[0]))
	}},
	{"POST", "/packs/{}/tags", "Packs.AddTag", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return nil, ours(c.Packs.AddTag(ctx, p[0], ex.text("tag")))
	}},
	{"DELETE", "/packs/{}/tags", "Packs.RemoveTag", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return nil, ours(c.Packs.RemoveTag(ctx, p[0], ex.text("tag")))
	}},
	{"DELETE", "/packs/{}/delete", "Packs.Delete", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return nil, ours(c.Packs.Delete(ctx, p[0], DeleteForGood))
	}},

	{"POST", "/queries", "Queries.Page", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return scheduledPage(ctx, ex, c.Queries.Page)
	}},
	{"POST", "/queries/packed", "Queries.PackedPage", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return scheduledPage(ctx, ex, c.Queries.PackedPage)
	}},
	{"POST", "/queries/add", "Queries.Add", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		if ex.text("packs") != "" {
			return nil, errNotOurs // they would be looked up before
		}
		return result(c.Queries.Add(ctx, scheduledArgs(ex)))
	}},
	{"GET", "/queries/{}", "Queries.Get", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		q, err := c.Queries.Get(ctx, number(p[0]))
		return q, ours(errors.Join(err, sameData(ex, err, scheduledKeys(q))))
	}},
	{"POST", "/queries/{}", "Queries.Update", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		if ex.text("packs") != "" {
			return nil, errNotOurs
		}
		q := scheduledArgs(ex)
		q.ID = number(p[0])
		return nil, ours(c.Queries.Update(ctx, q))
	}},
	{"GET", "/queries/{}/tags", "Queries.Tags", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return result(c.Queries.Tags(ctx, number(p[0])))
	}},
	{"POST", "/queries/{}/tags", "Queries.AddTag", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return nil, ours(c.Queries.AddTag(ctx, number(p[0]), ex.text("tag")))
	}},
	{"DELETE", "/queries/{}/tags", "Queries.RemoveTag", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return nil, ours(c.Queries.RemoveTag(ctx, number(p[0]), ex.text("tag")))
	}},
	{"DELETE", "/queries/{}/delete", "Queries.Delete", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return nil, ours(c.Queries.Delete(ctx, p[0], DeleteForGood))
	}},

	{"GET", "/configs", "Configs.List", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		var all []Config
		for config, err := range c.Configs.List(ctx) {
			if err != nil {
				return all, err
			}
			all = append(all, config)
		}
		return all, nil
	}},
	{"GET", "/options", "Release2.Options", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Release2.Options(ctx)
	}},
	{"POST", "/queryresult/delete", "Release2.DeleteResults", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return nil, ours(c.Release2.DeleteResults(ctx, ex.int("days_of_data"), PurgeOldData))
	}},
	{"GET", "/configs/all", "Release2.Configs", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.Release2.Configs(ctx)
	}},
	{"POST", "/configs/view", "Release2.Config", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		if host := ex.text("host_identifier"); host != "" {
			return result(c.Release2.HostConfig(ctx, host))
		}
		return result(c.Release2.Config(ctx, OldConfigKey{Platform: ex.text("platform"), Arch: ex.text("arch")}))
	}},
}

func scheduledKeys(q ScheduledQuery) map[string]any {
	return map[string]any{"id": q.ID, "name": q.Name, "sql": q.SQL, "platform": q.Platform, "version": q.Version, "tags": q.Tags, "packs": q.Packs}
}

func scheduledPage(ctx context.Context, ex *exchange, page func(context.Context, ScheduledFilter) (Page[ScheduledQuery], error)) (any, error) {
	p, err := page(ctx, ScheduledFilter{Start: ex.int("start"), Limit: ex.int("limit"), Search: ex.text("searchterm")})
	return p, ours(errors.Join(err, sameRows(ex, err, p, scheduledKeys)))
}

// scheduledArgs is the query that was sent.
func scheduledArgs(ex *exchange) ScheduledQuery {
	q := ScheduledQuery{
		Name: ex.text("name"), SQL: ex.text("query"), Interval: time.Duration(ex.int("interval")) * time.Second, Platform: ex.text("platform"),
		Version: ex.text("version"), Description: ex.text("description"), Value: ex.text("value"),
	}
	q.Snapshot, _ = strconv.ParseBool(ex.text("snapshot"))
	q.Tags = slices.DeleteFunc(strings.Split(ex.text("tags"), ","), func(tag string) bool { return tag == "" })
	return q
}
