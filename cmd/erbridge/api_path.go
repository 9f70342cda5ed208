package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
)

// runPath makes a call by method and path.
func (a *api) runPath(cmd *cobra.Command, given []string) error {
	if len(given) != 2 {
		return usagef("usage: erbridge api METHOD PATH, with --data for a body")
	}
	method, path := strings.ToUpper(given[0]), given[1]
	if !isMethod(method) {
		return usagef("method %q: expected GET, POST, PUT, PATCH or DELETE", given[0])
	}
	if err := a.checkFilter(); err != nil {
		return err
	}
	body, err := readData(cmd.InOrStdin(), a.data)
	if err != nil {
		return err
	}
	cfg, err := a.load(nil)
	if err != nil {
		return err
	}
	call := callAt(cfg, method, path)
	out, err := openTarget(cmd, a.output, a.force)
	if err != nil {
		return err
	}
	defer out.drop()
	client, err := daemon.NewClient(cfg, daemon.Options{Version: buildVersion()})
	if err != nil {
		return err
	}
	hide := a.redactor(call, append(secretsIn(body), secretsInQuery(path)...), cfg)
	switch {
	case a.yes || !changes(call, method):
	case call != nil:
		err = a.ask(cmd, call, hide.text(method+" "+path), cfg)
	default:
		err = confirm(cmd, fmt.Sprintf("%s %s may change something on %s.", method, clean(hide.text(path)), cfg.Server.URL))
	}
	if err != nil {
		return err
	}
	ctx, stop := newPatience(cmd.Context(), a.timeout)
	defer stop.end()
	answer, err := client.Raw(ctx, method, path, body)
	leave(cmd.Context(), client, err)
	switch {
	case errors.Is(err, connector.ErrInvalid):
		return usagef("%v", hide.err(err))
	case err != nil:
		return hide.err(err)
	}
	err = client.Judge(call, method, path, answer)
	if err != nil && out.path != "" {
		return hide.err(err) // no file of a refusal
	}
	if err = errors.Join(a.print(cmd.Context(), out, answer.Body, answer.ContentType, hide), err); err != nil {
		return hide.err(err)
	}
	return out.commit()
}

// callAt is the call of the catalogue that method and path are, nil if none is.
func callAt(cfg *config.Config, method, path string) *catalogue.Call {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return catalogue.Match(catalogue.Base(cfg.Server.API), method, path)
}

// changes reports whether a call may have an effect. What is not in the catalogue
// may, unless its method says otherwise.
func changes(call *catalogue.Call, method string) bool {
	if call != nil {
		return call.Effect != catalogue.Reads
	}
	return method != http.MethodGet && method != http.MethodHead
}

// secretsIn are the values of a body that are secrets by their key.
func secretsIn(body []byte) []string {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return nil
	}
	return secretsOf(nil, v, false)
}

// secretsOf adds the secrets in v, which is one as a whole if its key says so.
func secretsOf(all []string, v any, secret bool) []string {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			all = secretsOf(all, item, secret || catalogue.IsSecret(key))
		}
	case []any:
		for _, item := range v {
			all = secretsOf(all, item, secret)
		}
	case string:
		if secret {
			all = append(all, v)
		}
	}
	return all
}

// secretsInQuery are the secrets in the query of a path, plain and as they stand there.
func secretsInQuery(path string) (all []string) {
	_, query, _ := strings.Cut(path, "?")
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if !catalogue.IsSecret(name) || value == "" {
			continue
		}
		all = append(all, pair, value)
		if plain, err := url.QueryUnescape(value); err == nil && plain != value {
			all = append(all, plain)
		}
	}
	return all
}
