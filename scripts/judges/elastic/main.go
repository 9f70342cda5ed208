// Command elastic is the official client of Elasticsearch, asked what it makes of a
// server. It reads a task as JSON from its input and writes its verdict as JSON.
// It is a module of its own, so that nothing else has to know the client.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/elastic/go-elasticsearch/v7"
	"github.com/elastic/go-elasticsearch/v7/esutil"
)

type task struct {
	URL    string `json:"url"`
	APIKey string `json:"api_key"`
	// Template is put as an index template of that name before the documents.
	TemplateName string          `json:"template_name"`
	Template     json.RawMessage `json:"template"`
	Documents    []document      `json:"documents"`
}

type document struct {
	Action string          `json:"action"`
	Index  string          `json:"index"`
	ID     string          `json:"id"`
	Body   json.RawMessage `json:"body"`
}

type verdict struct {
	// Template is whether the server took the template and gave it back.
	Template bool `json:"template"`
	// Status is what the client's bulk indexer says of each document, by id.
	Status map[string]int `json:"status"`
	// Failed are the ids that it reports as failed.
	Failed []string `json:"failed"`
	// Sources are the documents that the server gives back, by id.
	Sources map[string]json.RawMessage `json:"sources"`
}

func main() {
	var t task
	err := json.NewDecoder(os.Stdin).Decode(&t)
	if err == nil {
		var v *verdict
		if v, err = judge(context.Background(), t); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(v)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "elastic:", err)
		os.Exit(1)
	}
}

func judge(ctx context.Context, t task) (*verdict, error) {
	client, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{t.URL}, APIKey: t.APIKey, DisableRetry: true})
	if err != nil {
		return nil, err
	}
	v := &verdict{Status: map[string]int{}, Sources: map[string]json.RawMessage{}}
	if v.Template, err = template(ctx, client, t); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	if err := v.index(ctx, client, t.Documents); err != nil {
		return nil, fmt.Errorf("bulk: %w", err)
	}
	for _, d := range t.Documents {
		res, err := client.Get(d.Index, d.ID, client.Get.WithContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", d.ID, err)
		}
		var got struct {
			Found  bool            `json:"found"`
			Source json.RawMessage `json:"_source"`
		}
		err = json.NewDecoder(res.Body).Decode(&got)
		_ = res.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", d.ID, err)
		}
		if got.Found {
			v.Sources[d.ID] = got.Source
		}
	}
	return v, nil
}

// template puts a template and reads it back.
func template(ctx context.Context, client *elasticsearch.Client, t task) (bool, error) {
	put, err := client.Indices.PutIndexTemplate(t.TemplateName, bytes.NewReader(t.Template), client.Indices.PutIndexTemplate.WithContext(ctx))
	if err != nil {
		return false, err
	}
	defer func() { _ = put.Body.Close() }()
	if put.IsError() {
		text, _ := io.ReadAll(io.LimitReader(put.Body, 1<<10))
		return false, fmt.Errorf("%s: %s", put.Status(), text)
	}
	got, err := client.Indices.GetIndexTemplate(client.Indices.GetIndexTemplate.WithName(t.TemplateName), client.Indices.GetIndexTemplate.WithContext(ctx))
	if err != nil {
		return false, err
	}
	defer func() { _ = got.Body.Close() }()
	return !got.IsError(), nil
}

// index sends the documents through the client's bulk indexer.
func (v *verdict) index(ctx context.Context, client *elasticsearch.Client, documents []document) error {
	var mu sync.Mutex // guards v and trouble: the indexer calls back from its worker
	var trouble error
	indexer, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{
		Client: client, NumWorkers: 1,
		OnError: func(_ context.Context, err error) {
			mu.Lock()
			defer mu.Unlock()
			trouble = err
		},
	})
	if err != nil {
		return err
	}
	for _, d := range documents {
		err := indexer.Add(ctx, esutil.BulkIndexerItem{
			Action: d.Action, Index: d.Index, DocumentID: d.ID, Body: bytes.NewReader(d.Body),
			OnSuccess: func(_ context.Context, item esutil.BulkIndexerItem, res esutil.BulkIndexerResponseItem) {
				mu.Lock()
				defer mu.Unlock()
				v.Status[item.DocumentID] = res.Status
			},
			OnFailure: func(_ context.Context, item esutil.BulkIndexerItem, res esutil.BulkIndexerResponseItem, err error) {
				mu.Lock()
				defer mu.Unlock()
				v.Status[item.DocumentID] = res.Status
				v.Failed = append(v.Failed, item.DocumentID)
				if err != nil {
					trouble = err
				}
			},
		})
		if err != nil {
			return err
		}
	}
	if err := indexer.Close(ctx); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return trouble
}
