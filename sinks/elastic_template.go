package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/erbridge/erbridge/sinks/format"
)

// templateName is that of the index template on the server.
const templateName = "logs-eclecticiq_er"

// install puts the index template for the data streams on the server, unless the
// server has it as this version or a newer one has written it. What a person has
// changed in it and given a higher version stays, therefore. No error of it is the
// fault of an event.
func (e *elastic) install(ctx context.Context) error {
	if !e.settings.InstallTemplate || e.installed {
		return nil
	}
	r, err := e.exchange(ctx, http.MethodGet, "_index_template/"+templateName, nil)
	if err != nil {
		return err
	}
	// Elasticsearch has named itself in every answer since 7.14; OpenSearch does not.
	template := format.OpenSearchTemplate
	if r.Header.Get("X-Elastic-Product") == "Elasticsearch" {
		template = format.ECSTemplate
	}
	var there struct {
		Templates []struct {
			Template struct {
				Version int `json:"version"`
			} `json:"index_template"`
		} `json:"index_templates"`
	}
	switch {
	case r.Status == http.StatusNotFound && json.Valid(r.Body): // a page of a proxy is no answer
	case r.Status != http.StatusOK:
		return r.judgeSetup(e.now())
	default:
		if err := json.Unmarshal(r.Body, &there); err != nil {
			return fmt.Errorf("%w: this is not a search engine", r.errorf(ErrConfig))
		}
	}
	var ours struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(template, &ours); err != nil {
		return err
	}
	if len(there.Templates) == 0 || there.Templates[0].Template.Version < ours.Version {
		if r, err = e.exchange(ctx, http.MethodPut, "_index_template/"+templateName, template); err != nil {
			return err
		}
		if err := r.judgeSetup(e.now()); err != nil {
			return fmt.Errorf("%w; it needs the cluster privilege manage_index_templates, "+
				"or install it by hand and leave install_template out", err)
		}
		e.log.Info("index template is installed", "template", templateName, "version", ours.Version)
	}
	e.installed = true
	return nil
}

// exchange sends a request other than bulk.
func (e *elastic) exchange(ctx context.Context, method, path string, body []byte) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, e.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", e.userAgent)
	secret, err := e.authorize(req)
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return exchange(e.client, req, maxReplyBytes, secret)
}
