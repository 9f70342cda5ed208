package connector

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"
)

// CarvesService is the section "Carves" of the REST guide.
type CarvesService struct{ c *Client }

// Carve is a set of files that an agent copied to the server.
type Carve struct {
	ID         int64
	NodeID     int64
	Hostname   string // list only
	SessionID  string
	GUID       string
	Size       int64 // bytes
	BlockSize  int64
	BlockCount int64
	// BlocksDone is how many blocks the server has; nil when it does not tell. No known
	// release does, although their databases have the figure.
	BlocksDone *int64
	// Archive is the file's name, empty until the server has built it.
	Archive string
	// Status is QUERIED, INITIALIZED, IN PROGRESS, BUILDING or COMPLETED. There is
	// no word for failed: a carve that is stuck stays in progress.
	Status    string
	CreatedAt time.Time
}

// Done reports whether the archive can be downloaded.
func (c Carve) Done() bool { return strings.EqualFold(c.Status, "COMPLETED") }

func readCarve(v value) Carve {
	var done *int64
	if n, ok := v.at("completed_blocks").integer(); ok {
		done = &n
	}
	return Carve{
		BlocksDone: done,
		ID:         v.at("id").id(),
		NodeID:     v.at("node_id").id(),
		Hostname:   v.at("hostname").text(),
		SessionID:  v.at("session_id").text(),
		GUID:       v.at("carve_guid").text(),
		Size:       v.at("carve_size").id(),
		BlockSize:  v.at("block_size").id(),
		BlockCount: v.at("block_count").id(),
		Archive:    v.at("archive").text(),
		Status:     v.at("status").text(),
		CreatedAt:  v.at("created_at").time(),
	}
}

func carveRow(v value) (Carve, error) {
	c := readCarve(v)
	switch {
	case !v.isObject():
		return c, errNotObject
	case c.ID == 0 && c.SessionID == "":
		return c, errors.New("carve without id")
	}
	return c, nil
}

// CarveQuery filters the list of carves.
type CarveQuery struct {
	Host   string // identifier
	Search string
	Column string // hostname or created_at; without effect when Host is given
	Desc   bool
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of carves, newest first. An answer without a list is
// ErrNotJSON.
// API: POST /carves (REST guide 4.0.0, "Get carves").
func (s *CarvesService) Page(ctx context.Context, q CarveQuery) (page Page[Carve], err error) {
	const what = "list carves"
	in := map[string]any{}
	err = errors.Join(paging(in, what, q.Start, q.Limit), inSet(what, "column", q.Column, "hostname", "created_at"))
	if err != nil {
		return page, err
	}
	set(in, "host_identifier", q.Host)
	set(in, "searchterm", q.Search)
	order(in, q.Column, q.Desc)
	return paged(ctx, s.c, callCarvesList, in, carveRow)
}

// List walks through all carves from q.Start on, q.Limit at a time.
func (s *CarvesService) List(ctx context.Context, q CarveQuery) iter.Seq2[Carve, error] {
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[Carve], error) {
		return s.Page(ctx, q)
	}, func(c *Carve) string { return strconv.FormatInt(c.ID, 10) + "/" + c.SessionID })
}

// ByQuery fetches the carve that a live query has started on a host. ErrNotFound
// until it has started.
// API: POST /carves/query (guide of release 2.x; all releases have it).
func (s *CarvesService) ByQuery(ctx context.Context, queryID int64, host string) (c Carve, err error) {
	if host == "" {
		return c, fmt.Errorf("carve of a query: %w", ErrEmptyTarget)
	}
	in := map[string]any{"query_id": strconv.FormatInt(queryID, 10), "host_identifier": host}
	err = s.c.do(ctx, callCarvesQuery, in, data(func(v value) { c = readCarve(v) }))
	if err == nil && c.SessionID == "" {
		err = missing(callCarvesQuery)
	}
	return c, err
}

// Delete removes carves from the server for good, with their archives. It needs the
// admin role in release 4.0.
// API: POST /carves/delete (REST guide 4.0.0, "Delete carves").
func (s *CarvesService) Delete(ctx context.Context, consent Consent, sessions ...string) error {
	if err := consent.must(DeleteForGood, "delete carves"); err != nil {
		return err
	}
	joined, err := commaList("delete carves", sessions)
	if err != nil {
		return err
	}
	return s.c.do(ctx, callCarvesDelete, map[string]any{"session_id": joined}, nil)
}

// Download copies an archive to w while it arrives. Nothing is written before the
// start of the file is known to be an archive. After an error, what w has is not
// the whole file and shall be thrown away. An archive that is empty, cut short or
// of no known kind is ErrBadArchive; an unknown session is ErrNotFound.
// API: GET /carves/download/{session_id} (REST guide 4.0.0, "Download carves").
func (s *CarvesService) Download(ctx context.Context, session string, w io.Writer) (DownloadInfo, error) {
	return s.download(ctx, session, w, copyArchive)
}

// DownloadAny is Download for those who keep whatever comes: a file that is neither tar
// nor zstd is copied as well, and its kind is empty.
func (s *CarvesService) DownloadAny(ctx context.Context, session string, w io.Writer) (DownloadInfo, error) {
	return s.download(ctx, session, w, copyAny)
}

func (s *CarvesService) download(ctx context.Context, session string, w io.Writer,
	save func(w io.Writer, r io.Reader, length int64) (DownloadInfo, error)) (info DownloadInfo, err error) {
	defer s.c.metrics.observe(callCarvesDownload.id, time.Now(), &err)
	k, err := callCarvesDownload.with(session)
	if err != nil {
		return info, err
	}
	err = s.c.stream(ctx, k, nil, isFile, func(r io.Reader, length int64) error {
		info, err = save(w, r, length)
		return err
	})
	return info, err
}

// copyArchive copies r to w and checks kind and length; length is -1 if unknown.
func copyArchive(w io.Writer, r io.Reader, length int64) (info DownloadInfo, err error) {
	buffered, kind, err := peekArchive(r)
	if err != nil {
		return info, err
	}
	if kind == "" {
		return info, fmt.Errorf("%w: it is neither tar nor zstd", ErrBadArchive)
	}
	info.Kind = kind
	err = info.copy(w, buffered, length, ErrBadArchive)
	return info, err
}

// copyAny is copyArchive for files of any kind.
func copyAny(w io.Writer, r io.Reader, length int64) (info DownloadInfo, err error) {
	buffered, kind, err := peekArchive(r)
	if err != nil {
		return info, err
	}
	info.Kind = kind
	err = info.copy(w, buffered, length, ErrBadArchive)
	return info, err
}

// peekArchive looks at the start of a file, which is not empty.
func peekArchive(r io.Reader) (buffered *bufio.Reader, kind string, err error) {
	buffered = bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(tarBlock)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", fmt.Errorf("%w: %w", ErrBadArchive, err)
	}
	if len(head) == 0 {
		// The application alone answers this way; the file comes from the proxy
		// before it.
		return nil, "", fmt.Errorf("%w: it is empty; is the URL that of the server's proxy?", ErrBadArchive)
	}
	return buffered, archiveKind(head), nil
}

const tarBlock = 512

// archiveKind looks at the first block. The name's ending cannot be trusted: the
// guide and the releases differ in it.
func archiveKind(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878, section 3.1.1
		return "zst"
	case len(head) >= tarBlock && string(head[257:262]) == "ustar": // POSIX.1-1988, ustar format
		return "tar"
	case len(head) >= tarBlock && tarChecksum(head[:tarBlock]):
		return "tar" // older than POSIX
	}
	return ""
}

// tarChecksum reports whether a block is a tar header by its own sum, as agents
// may write the format from before POSIX.
func tarChecksum(block []byte) bool {
	want, err := strconv.ParseInt(strings.Trim(string(block[148:156]), " \x00"), 8, 32)
	if err != nil || block[0] == 0 {
		return false
	}
	var sum int64
	for i, b := range block {
		if i >= 148 && i < 156 {
			b = ' '
		}
		sum += int64(b)
	}
	return sum == want
}
