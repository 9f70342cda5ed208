package connector

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// HuntService is the section "Hunt" of the REST guide: looks for indicators in the
// events that the server has stored. A value fits when it is exactly that of the
// column, in the same case.
type HuntService struct{ c *Client }

// IndicatorFile makes a file of indicators, one on a line.
func IndicatorFile(indicators ...string) Upload {
	return Upload{Name: "indicators.txt", Content: []byte(strings.Join(indicators, "\n"))}
}

// HuntQuery looks for indicators in the events of one query on one host.
type HuntQuery struct {
	// Type is one of IndicatorColumns: the column that holds the indicators.
	Type string
	// File has the indicators, one on a line: UTF-8, at most 5 MB. Empty lines do not
	// count.
	File Upload
	// Host is an id or identifier, looked up first.
	Host  string
	Query string // name of the query, as Upload tells it
	// Start is an offset, Limit a page size; default 100. Exports have neither.
	Start, Limit int
}

// Upload looks for the indicators of a file in the events of all hosts, and says
// how many were found by host and query. kind is one of IndicatorColumns. Rows that
// cannot be read are *MalformedError; the others are returned beside.
// API: POST /hunt-upload (REST guide 4.0.0, "Hunt results by using a file", format 1).
func (s *HuntService) Upload(ctx context.Context, kind string, file Upload) ([]HostHits, error) {
	in, err := huntFile(file, "type", kind, nil)
	if err != nil {
		return nil, err
	}
	return s.c.hits(ctx, callHuntUpload, in)
}

// UploadRows walks through the events of one query on one host in which an
// indicator of the file stands, q.Limit at a time and in no certain order.
// API: POST /hunt-upload (REST guide 4.0.0, "Hunt results by using a file", format 2).
func (s *HuntService) UploadRows(ctx context.Context, q HuntQuery) iter.Seq2[map[string]string, error] {
	return func(yield func(map[string]string, error) bool) {
		fields, err := s.place(ctx, q)
		if err != nil {
			yield(nil, err)
			return
		}
		walkColumns(ctx, q.Start, pageSize(q.Limit), func(ctx context.Context, start, limit int) (Page[map[string]string], error) {
			fields["start"], fields["limit"] = strconv.Itoa(start), strconv.Itoa(limit)
			in, err := huntFile(q.File, "type", q.Type, fields)
			if err != nil {
				return Page[map[string]string]{}, err
			}
			return s.c.columnsPage(ctx, callHuntUpload, in)
		})(yield)
	}
}

// Export copies the events that UploadRows would walk through to w, as CSV.
// ErrNotFound if there is no such host; without a hit there is a file without rows.
// It returns how many bytes were written; after an error they are not the whole.
// API: POST /hunt-upload/export (REST guide 4.0.0, "Export hunt results").
func (s *HuntService) Export(ctx context.Context, q HuntQuery, w io.Writer) (int64, error) {
	fields, err := s.place(ctx, q)
	if err != nil {
		return 0, err
	}
	in, err := huntFile(q.File, "type", q.Type, fields)
	if err != nil {
		return 0, err
	}
	return s.c.export(ctx, callHuntUploadExport, in, w)
}

// place names host and query, after a look at what needs no server.
func (s *HuntService) place(ctx context.Context, q HuntQuery) (map[string]string, error) {
	if _, err := huntFile(q.File, "type", q.Type, nil); err != nil {
		return nil, err
	}
	return s.placeOf(ctx, q.Host, q.Query, q.Start)
}

func (s *HuntService) placeOf(ctx context.Context, ref, query string, start int) (map[string]string, error) {
	if query == "" {
		return nil, fmt.Errorf("hunt: %w: the name of a query is needed beside a host", ErrInvalid)
	}
	if err := fromStart("hunt", start); err != nil {
		return nil, err
	}
	host, err := s.c.resolve(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("hunt: %w", err)
	}
	return map[string]string{"host_identifier": host, "query_name": query}, nil
}

// EventHunt looks for indicators in the events of a stretch of time.
type EventHunt struct {
	// Type is one of IndicatorColumns.
	Type string
	File Upload // as in HuntQuery
	// Host is an id or identifier; empty for all hosts. It is looked up first: the
	// server takes an identifier that does not exist for all hosts.
	Host  string
	Query string // name of a query; empty for all
	// Window says when; the zero value is the week that ends today.
	Window EventWindow
	// Limit is a page size; default 100.
	Limit int
}

// Events walks through the events in which an indicator of the file stands, newest
// first. How the pages are asked for depends on the release and is hidden here.
// API: POST /indicators/upload (REST guide 4.0.0, "Hunt results by using a file";
// what it answers: public source of release 4.0).
func (s *HuntService) Events(ctx context.Context, q EventHunt) iter.Seq2[ResultRow, error] {
	return func(yield func(ResultRow, error) bool) {
		fields, err := s.window(ctx, q)
		if err != nil {
			yield(ResultRow{}, err)
			return
		}
		var host any
		if q.Host != "" {
			host = fields["host_identifier"]
		}
		s.c.resultRows(ctx, q.Limit, func(ctx context.Context, start int64, limit int) (Page[ResultRow], error) {
			fields["start"], fields["limit"] = strconv.FormatInt(start, 10), strconv.Itoa(limit)
			in, err := huntFile(q.File, "indicator_type", q.Type, fields)
			if err != nil {
				return Page[ResultRow]{}, err
			}
			return s.c.resultPage(ctx, callIndicatorsUpload, in, host)
		})(yield)
	}
}

// ExportEvents copies the columns of the events of a stretch of time, in which an
// indicator of the file stands, to w, as CSV. It is always about all hosts and
// queries, for release 4.0 ignores both filters in this call: with q.Host or q.Query
// it is ErrInvalid. Export is about one host, Events tells which host is which.
// API: POST /indicators/upload/export (REST guide 4.0.0, "Export hunt results").
func (s *HuntService) ExportEvents(ctx context.Context, q EventHunt, w io.Writer) (int64, error) {
	if q.Host != "" || q.Query != "" {
		return 0, fmt.Errorf("hunt: %w: this export is about all hosts and queries", ErrInvalid)
	}
	fields, err := s.window(ctx, q)
	if err != nil {
		return 0, err
	}
	in, err := huntFile(q.File, "indicator_type", q.Type, fields)
	if err != nil {
		return 0, err
	}
	return s.c.export(ctx, callIndicatorsUploadExport, in, w)
}

// window names when and where, after a look at what needs no server.
func (s *HuntService) window(ctx context.Context, q EventHunt) (map[string]string, error) {
	if _, err := huntFile(q.File, "indicator_type", q.Type, nil); err != nil {
		return nil, err
	}
	fields, err := q.Window.arguments(s.c.serverTime())
	if err != nil {
		return nil, fmt.Errorf("hunt: %w", err)
	}
	fields["query_name"] = q.Query
	if q.Host != "" {
		if fields["host_identifier"], err = s.c.resolve(ctx, q.Host); err != nil {
			return nil, fmt.Errorf("hunt: %w", err)
		}
	}
	return fields, nil
}

// huntFile makes the body of a hunt. typed is the name that the call has for the
// kind of indicator.
func huntFile(file Upload, typed, kind string, fields map[string]string) (body, error) {
	if err := checkIndicatorType(kind); err != nil {
		return body{}, err
	}
	if !utf8.Valid(file.Content) {
		return body{}, fmt.Errorf("hunt: file %q: %w: not UTF-8", clip(file.Name, 80), ErrInvalid)
	}
	// Release 2.1.2 takes an empty line for an indicator, which every event without
	// the value would fit.
	content := bytes.TrimPrefix(file.Content, []byte("\ufeff"))
	lines := make([][]byte, 0, bytes.Count(content, []byte("\n"))+1)
	for line := range bytes.Lines(content) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return body{}, fmt.Errorf("hunt: file %q: %w: it has no indicators", clip(file.Name, 80), ErrInvalid)
	}
	file.Content = bytes.Join(lines, []byte("\n"))
	all := map[string]string{typed: kind}
	maps.Copy(all, fields)
	return multipartBody(file, all)
}

func checkIndicatorType(kind string) error {
	if slices.Contains(IndicatorColumns, kind) {
		return nil
	}
	return fmt.Errorf("hunt: %w: type %q is none of %s", ErrInvalid, clip(kind, 80), strings.Join(IndicatorColumns, ", "))
}

// IndicatorHunt looks for a few indicators in the events of one query on one host.
type IndicatorHunt struct {
	// Type is one of IndicatorColumns.
	Type string
	// Indicators have neither commas nor line ends; a file can have commas.
	Indicators []string
	// Host is an id or identifier, looked up first.
	Host  string
	Query string
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Indicators looks for a few indicators in the events of all hosts, and says how
// many were found by host and query. Rows that cannot be read are *MalformedError;
// the others are returned beside.
// API: POST /indicators/hunt (REST guide 4.0.0, "Hunt results using a list of
// indicators", format 1).
func (s *HuntService) Indicators(ctx context.Context, kind string, indicators ...string) ([]HostHits, error) {
	in, err := indicatorList(kind, indicators)
	if err != nil {
		return nil, err
	}
	return s.c.hits(ctx, callIndicatorsHunt, in)
}

// IndicatorRows walks through the events of one query on one host in which one of
// the indicators stands, q.Limit at a time and in no certain order.
// API: POST /indicators/hunt (REST guide 4.0.0, "Hunt results using a list of
// indicators", format 2).
func (s *HuntService) IndicatorRows(ctx context.Context, q IndicatorHunt) iter.Seq2[map[string]string, error] {
	return func(yield func(map[string]string, error) bool) {
		in, err := indicatorList(q.Type, q.Indicators)
		if err != nil {
			yield(nil, err)
			return
		}
		place, err := s.placeOf(ctx, q.Host, q.Query, q.Start)
		if err != nil {
			yield(nil, err)
			return
		}
		for name, text := range place {
			in[name] = text
		}
		walkColumns(ctx, q.Start, pageSize(q.Limit), func(ctx context.Context, start, limit int) (Page[map[string]string], error) {
			in["start"], in["limit"] = start, limit
			return s.c.columnsPage(ctx, callIndicatorsHunt, in)
		})(yield)
	}
}

// indicatorList writes indicators as a comma list. Blanks would become part of an
// indicator.
func indicatorList(kind string, indicators []string) (map[string]any, error) {
	if err := checkIndicatorType(kind); err != nil {
		return nil, err
	}
	var list []string
	for _, text := range indicators {
		text = strings.TrimSpace(text)
		switch {
		case text == "":
		case strings.ContainsAny(text, ",\r\n"):
			return nil, fmt.Errorf("hunt: %w: indicator %q has a comma or a line end; a file may have commas", ErrInvalid, clip(text, 80))
		default:
			list = append(list, text)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("hunt: %w: no indicators", ErrInvalid)
	}
	return map[string]any{"type": kind, "indicators": strings.Join(list, ",")}, nil
}
