package connector

import (
	"context"
	"fmt"
	"strings"
)

// LiveQuery sends a live query to hosts (identifiers) and tags and returns its id,
// with which Queries.Results gets the results. A query without a target is
// ErrEmptyTarget and is not sent, because the server would ask every host; AllHosts
// says that this is meant. OSNames is not for API v0. That no host is online is
// ErrRefused.
// API v0: POST /distributed/add (guide of API v0, "Run a Live Query").
func (s *V0Service) LiveQuery(ctx context.Context, q LiveQuery) (id int64, err error) {
	if strings.TrimSpace(q.SQL) == "" {
		return 0, fmt.Errorf("live query: %w: SQL is empty", ErrInvalid)
	}
	if len(q.OSNames) > 0 {
		return 0, fmt.Errorf("live query: %w: API v0 does not choose hosts by OS name", ErrInvalid)
	}
	in := map[string]any{"query": q.SQL}
	set(in, "description", q.Description)
	if err := q.target(in); err != nil {
		return 0, err
	}
	err = s.c.do(ctx, callV0DistributedAdd, in, func(answer value) {
		id = firstID(answer.at("query_id"), answer.at("data").at("query_id"), answer.at("data"))
	})
	if err == nil && id == 0 {
		err = &APIError{Method: callV0DistributedAdd.method, Path: callV0DistributedAdd.path, Status: 200,
			Message: "the answer holds no query id", kinds: []error{ErrNotJSON, ErrUncertain}}
	}
	return id, err
}

// firstID returns the first id that is told. API v0 has the id of what was made
// beside status, below data, or as data, as text or as number.
func firstID(places ...value) int64 {
	for _, v := range places {
		if id := v.id(); id != 0 {
			return id
		}
	}
	return 0
}
