package connector

import (
	"context"
	"fmt"
	"io"
)

// Export copies the hosts that q chooses to w, as CSV with a row for each. Without
// q.Limit these are all; q.Brief is ErrInvalid, because the server fails then. Columns
// are found by their name in the first row: releases differ in their order. A filter
// that no host fits gives an empty line.
//
// API: POST /hosts/export (REST guide 4.0.0, section Hosts), since release 4.0.
func (s *HostsService) Export(ctx context.Context, q HostQuery, w io.Writer) (bytes int64, err error) {
	const what = "export hosts"
	if q.Brief {
		return 0, fmt.Errorf("%s: %w: the table cannot be without the count of alerts", what, ErrInvalid)
	}
	in, err := q.arguments(what)
	if err != nil {
		return 0, err
	}
	if q.Limit <= 0 {
		in["limit"] = maxListed // left out, it is 10 by the guide
	}
	return s.c.export(ctx, callHostsExportFiltered, in, w)
}

// ExportAll copies all hosts to w, as CSV with a row for each. Release 2.1.2 leaves
// removed hosts out and tells the name, not the identifier, in a column
// Host_Identifier.
//
// API: GET /hosts/export (REST guide 4.0.0, section Hosts).
func (s *HostsService) ExportAll(ctx context.Context, w io.Writer) (bytes int64, err error) {
	return s.c.export(ctx, callHostsExportAll, nil, w)
}
