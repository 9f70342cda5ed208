package connector

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Carves fetches all carves, or those of a host (identifier), in no order. The
// server does not tell how far a carve is: one whose archive has a name counts as
// done.
// API v0: POST /carves/ (guide of API v0, "Carves").
func (s *V0Service) Carves(ctx context.Context, host string) (Page[Carve], error) {
	in := map[string]any{}
	set(in, "host_identifier", host)
	return v0Page(ctx, s, callV0Carves, in, func(v value) (Carve, error) { return carveRow(tidyCarve(v)) })
}

// tidyCarve gives a carve of v0 the status that v1 tells.
func tidyCarve(v value) value {
	if !v.isObject() || v.at("status").text() != "" {
		return v
	}
	status := "IN PROGRESS"
	if v.at("archive").text() != "" {
		status = "COMPLETED"
	}
	return altered(v, map[string]any{"status": status})
}

// DownloadCarve copies an archive to w, as Carves.Download does.
// API v0: GET /carves/download/{session_id} (public source of release 2.1.2).
func (s *V0Service) DownloadCarve(ctx context.Context, session string, w io.Writer) (info DownloadInfo, err error) {
	defer s.c.metrics.observe(callV0CarvesDownload.id, time.Now(), &err)
	k, err := callV0CarvesDownload.with(session)
	if err != nil {
		return info, err
	}
	err = s.c.stream(ctx, k, nil, isFile, func(r io.Reader, length int64) error {
		info, err = copyArchive(w, r, length)
		return err
	})
	return info, err
}

// CarveByQuery fetches the carve that a live query has started on a host.
// ErrNotFound until it has started.
// API v0: POST /carves/query (public source of release 2.1.2).
func (s *V0Service) CarveByQuery(ctx context.Context, queryID int64, host string) (Carve, error) {
	if host == "" {
		return Carve{}, fmt.Errorf("carve of a query: %w", ErrEmptyTarget)
	}
	return s.carve(ctx, callV0CarvesQuery, map[string]any{"query_id": strconv.FormatInt(queryID, 10), "host_identifier": host})
}

// CarveByQueryPath is CarveByQuery as releases before 2.1 have it.
// API v0: GET /carves/query/{query_id}/{host_identifier} (public source of release
// 2.1.2).
func (s *V0Service) CarveByQueryPath(ctx context.Context, queryID int64, host string) (Carve, error) {
	if host == "" {
		return Carve{}, fmt.Errorf("carve of a query: %w", ErrEmptyTarget)
	}
	k, err := callV0CarvesQueryPath.with(strconv.FormatInt(queryID, 10), host)
	if err != nil {
		return Carve{}, err
	}
	return s.carve(ctx, k, nil)
}

func (s *V0Service) carve(ctx context.Context, k call, in any) (c Carve, err error) {
	err = s.c.do(ctx, k, in, data(func(v value) { c = readCarve(tidyCarve(v)) }))
	if err == nil && c.SessionID == "" {
		err = missing(k)
	}
	return c, err
}
