package connector

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

func init() { routes = append(routes, searchRoutes...) }

// searchRoutes are the calls of the sections Search, Hunt, Schema, YARA, IOCs and
// Rules.
var searchRoutes = []route{
	{"POST", "/search", "Search", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		condition, err := ex.condition()
		if err != nil {
			return nil, err
		}
		if ex.text("host_identifier") == "" {
			return result(c.Search.Counts(ctx, condition))
		}
		page, err := c.Search.Page(ctx, SearchQuery{
			Condition: condition, Host: ex.text("host_identifier"), Query: ex.text("query_name"), Limit: ex.int("limit"),
		})
		return page, errors.Join(err, sameRows(ex, err, page, plainColumns))
	}},
	{"POST", "/activity/search", "Search.Activity", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		condition, err := ex.condition()
		if err != nil {
			return nil, err
		}
		return allRows(ex, c.Search.Activity(ctx, ActivitySearch{Condition: condition, Limit: 100}))
	}},
	{"POST", "/schedule_query/export", "Search.ExportQuery", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return result(c.Search.ExportQuery(ctx, ex.text("host_identifier"), ex.text("query_name"), io.Discard))
	}},
	{"POST", "/hunt-upload", "Hunt.Upload", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return result(c.Hunt.Upload(ctx, "md5", IndicatorFile("x")))
	}},
	{"POST", "/indicators/upload", "Hunt.Events", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return allRows(ex, c.Hunt.Events(ctx, EventHunt{Type: "md5", File: IndicatorFile("x"), Limit: 100}))
	}},
	{"POST", "/indicators/hunt", "Hunt.Indicators", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return result(c.Hunt.Indicators(ctx, ex.text("type"), strings.Split(ex.text("indicators"), ",")...))
	}},
	{"GET", "/schema/{}", "Schema.Table", func(ctx context.Context, c *Client, _ *exchange, p []string) (any, error) {
		return c.Schema.Table(ctx, p[0])
	}},
	{"GET", "/yara", "YARA.List", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.YARA.List(ctx)
	}},
	{"GET", "/iocs", "IOCs.Get", func(ctx context.Context, c *Client, _ *exchange, _ []string) (any, error) {
		return c.IOCs.Get(ctx)
	}},
	{"POST", "/iocs/add", "IOCs.Replace", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		var set map[string]struct{ Type, Severity, Values string }
		if written, err := json.Marshal(ex.args["data"]); err != nil || json.Unmarshal(written, &set) != nil {
			return nil, errNotOurs
		}
		lists := make(map[string]IOC)
		for name, list := range set {
			lists[name] = IOC{Type: list.Type, Severity: list.Severity, Values: strings.FieldsFunc(list.Values, func(r rune) bool { return r == ',' })}
		}
		return nil, ours(c.IOCs.Replace(ctx, lists, ReplaceEverything))
	}},
	{"POST", "/rules", "Rules.Page", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		page, err := c.Rules.Page(ctx, RuleQuery{Start: ex.int("start"), Limit: ex.int("limit")})
		return page, errors.Join(err, sameRows(ex, err, page, func(r Rule) map[string]any {
			return map[string]any{"id": r.ID, "name": r.Name, "tactics": r.Tactics, "severity": r.Severity, "alerts_count": r.AlertCount,
				"technique_id": strings.Join(r.Techniques, ","), "alerters": r.Alerters, "type": r.Type, "conditions": r.Conditions}
		}))
	}},
	{"POST", "/rules/add", "Rules.Add", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return result(c.Rules.Add(ctx, ex.rule()))
	}},
	{"POST", "/rules/tactics", "Rules.Tactics", func(ctx context.Context, c *Client, ex *exchange, _ []string) (any, error) {
		return result(c.Rules.Tactics(ctx, ex.text("technique_ids")))
	}},
	{"POST", "/rules/{}", "Rules.Replace", func(ctx context.Context, c *Client, ex *exchange, p []string) (any, error) {
		return result(c.Rules.Replace(ctx, number(p[0]), ex.rule(), ReplaceEverything))
	}},
}

// condition is the tree of a recorded search.
func (ex *exchange) condition() (Condition, error) {
	c := ex.rule().Condition
	if len(c.Of) == 0 {
		return Condition{}, errNotOurs
	}
	for i := range c.Of { // the field of a search is a column
		c.Of[i].Column, c.Of[i].Field = c.Of[i].Field, ""
	}
	return c, nil
}

// rule is the rule of a recorded request.
func (ex *exchange) rule() RuleSpec {
	v, err := parse(ex.body)
	if err != nil {
		return RuleSpec{}
	}
	return readRule(v).Spec()
}

func plainColumns(columns map[string]string) map[string]any {
	all := make(map[string]any, len(columns))
	for name, text := range columns {
		all[name] = text
	}
	return all
}

// allRows collects the rows of a walk that is over after one page.
func allRows(ex *exchange, walk iter.Seq2[ResultRow, error]) (any, error) {
	var page Page[ResultRow]
	for row, err := range walk {
		if err != nil {
			return nil, ours(err)
		}
		page.Results = append(page.Results, row)
	}
	return page.Results, sameRows(ex, nil, page, func(r ResultRow) map[string]any {
		return map[string]any{"id": r.ID, "name": r.Query, "action": r.Action, "columns": r.Columns, "node_id": r.NodeID,
			"uuid": r.UUID, "hostname": r.Hostname, "host_identifier": r.Host}
	})
}

// besides answers what the client asks for around a recorded call: the host that it
// looks up, what kind of server this is, and what it has just written.
func besides(ex *exchange, r *http.Request) (status int, answer string) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), ex.base)
	host, isHost := strings.CutPrefix(path, "/hosts/")
	switch {
	case r.Method != http.MethodGet:
	case path == "/index":
		return http.StatusNotFound, ""
	case isHost:
		if name, err := url.PathUnescape(host); err == nil {
			return http.StatusOK, dataAnswer(string(encode(map[string]any{"id": 1, "host_identifier": name})))
		}
	case path == "/iocs" && ex.path == "/iocs/add":
		return http.StatusOK, dataAnswer(string(encode(ex.args["data"])))
	case path != ex.path:
	case path == "/management/settings":
		return http.StatusOK, dataAnswer(string(encode(ex.args)))
	case strings.HasPrefix(path, "/rules/"):
		rule := maps.Clone(ex.args)
		rule["id"] = number(strings.TrimPrefix(path, "/rules/"))
		return http.StatusOK, dataAnswer(string(encode(rule)))
	}
	return http.StatusNotImplemented, ""
}
