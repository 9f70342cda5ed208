package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	switch {
	case a.yes || !changes(call, method):
	case call != nil:
		err = a.ask(cmd, call, method+" "+path, cfg)
	default:
		err = confirm(cmd, fmt.Sprintf("%s %s may change something on %s.", method, clean(path), cfg.Server.URL))
	}
	if err != nil {
		return err
	}
	client, err := daemon.NewClient(cfg, daemon.Options{Version: buildVersion()})
	if err != nil {
		return err
	}
	hide := a.redactor(call, secretsIn(body), cfg)
	ctx, stop := newPatience(cmd.Context(), a.timeout)
	defer stop.end()
	answer, err := client.Raw(ctx, method, path, body)
	switch {
	case errors.Is(err, connector.ErrInvalid):
		return usagef("%v", hide.err(err))
	case err != nil:
		return hide.err(err)
	}
	judged := judgeAnswer(call, method, path, answer)
	if judged != nil && out.path != "" {
		return hide.err(judged) // no file of a refusal
	}
	if err := a.print(cmd.Context(), out, answer.Body, answer.ContentType, hide); err != nil {
		return hide.err(errors.Join(err, judged))
	}
	if judged != nil {
		return hide.err(judged)
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
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return nil
	}
	var all []string
	for name, v := range fields {
		if text, ok := v.(string); ok && catalogue.IsSecret(name) {
			all = append(all, text)
		}
	}
	return all
}

// judgeAnswer makes an error of an answer that says no: by status, or with
// "status": "failure" under 200, as the server does.
func judgeAnswer(call *catalogue.Call, method, path string, answer connector.RawAnswer) error {
	var body struct{ Status, Message string }
	_ = json.Unmarshal(answer.Body, &body) // what has no such fields has not refused
	text := strings.TrimSpace(fmt.Sprintf("%s %s: %d %s", method, path, answer.Status, body.Message))
	switch {
	case answer.Status == http.StatusNotFound:
		if call != nil && call.Enterprise() && !json.Valid(answer.Body) {
			return fmt.Errorf("%s: %w (Enterprise only)", text, connector.ErrUnavailable)
		}
		return fmt.Errorf("%s: %w", text, connector.ErrNotFound)
	case answer.Status >= 500:
		return errors.New(text)
	case answer.Status >= 400, body.Status == "failure":
		return fmt.Errorf("%s: %w", text, connector.ErrRefused)
	}
	return nil
}
