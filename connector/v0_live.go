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
func (s *V0Service) LiveQuery(ctx context.Context, q LiveQuery) (int64, error) {
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
	return s.made(ctx, callV0DistributedAdd, in, "query_id")
}
