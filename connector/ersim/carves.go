package ersim

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The states of a carve, in their order. There is no failed one.
const (
	carveInitialized = "INITIALIZED"
	carveProgress    = "IN PROGRESS"
	carveBuilding    = "BUILDING"
	carveCompleted   = "COMPLETED"
)

const carveBlocks = 4 // how many blocks a carve is sent in, about

// carve is a file set on its way from a host to the server.
type carve struct {
	id       int64
	host     *host
	query    int64 // the live query that started it; 0 for a quarantined file
	session  string
	guid     string
	data     []byte // what the archive will hold
	suffix   string // .tar or .zst
	block    int
	received int // blocks that the server has
	status   string
	created  time.Time
	stuck    *Fault // it stops after the first block
	told     int    // the size that the list tells
}

func (c *carve) blocks() int { return (len(c.data) + c.block - 1) / c.block }

// startCarve begins to send files. Server.mu is held.
func (s *Server) startCarve(h *host, files []*file, query int64) *carve {
	s.lastCarve++
	r := s.random("carve", s.lastCarve)
	session := make([]byte, 10)
	for i := range session {
		session[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[r.IntN(36)]
	}
	c := &carve{
		id: s.lastCarve, host: h, query: query, session: string(session), guid: s.uuid("carve-guid", s.lastCarve),
		data: tarOf(files), suffix: ".tar", status: carveInitialized, created: s.now().Truncate(time.Microsecond),
	}
	if h.family() == "linux" { // these agents run with carver_compression
		c.data, c.suffix = zstdStored(c.data), ".zst"
	}
	if s.carveFault(h, CarveJunk) != nil {
		c.data = []byte("This is what came out of a broken agent.\n")
	}
	if c.told = len(c.data); s.carveFault(h, CarveSize) != nil {
		c.told *= 2
	}
	c.stuck = s.carveFault(h, CarveStuck)
	c.block = max(512, (len(c.data)+carveBlocks-1)/carveBlocks)
	s.carves = append(s.carves, c)
	s.nextBlock(c)
	return c
}

// nextBlock plans the arrival of a block, and after the last one the building.
func (s *Server) nextBlock(c *carve) {
	wait := s.jitter(s.opts.CommandDelay/carveBlocks, "carve-block", c.id<<16+int64(c.received))
	s.after(wait, func() {
		s.whenOnline(c.host, func() {
			if c.received < c.blocks() {
				c.received++
				c.status = carveProgress
				if f := c.stuck; f != nil {
					if c.stuck = nil; f.Delay > 0 {
						s.after(f.Delay, func() { s.nextBlock(c) })
					}
					return
				}
				s.nextBlock(c)
				return
			}
			c.status = carveBuilding
			s.after(wait, func() { c.status = carveCompleted })
		})
	})
}

// tarOf packs files the way osquery does: names without the root, so that
// extracting is harmless.
func tarOf(files []*file) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		content := f.content()
		name := strings.TrimLeft(strings.ReplaceAll(strings.ReplaceAll(f.path, `\`, "/"), ":", ""), "/")
		// A buffer takes everything, and the header's values are plain.
		_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: f.mtime.Truncate(time.Second)})
		_, _ = w.Write(content)
	}
	_ = w.Close()
	return b.Bytes()
}

// zstdStored wraps data into a Zstandard frame of uncompressed blocks (RFC 8878,
// sections 3.1.1 and 3.1.1.2).
func zstdStored(data []byte) []byte {
	const maxBlock = 128 << 10
	out := binary.LittleEndian.AppendUint32(nil, 0xfd2fb528)
	out = append(out, 0xe0) // 8 bytes of content size, single segment, no checksum
	out = binary.LittleEndian.AppendUint64(out, uint64(len(data)))
	for {
		n := min(len(data), maxBlock)
		header := uint32(n) << 3 // raw block
		if n == len(data) {
			header |= 1 // the last one
		}
		out = append(out, byte(header), byte(header>>8), byte(header>>16))
		out = append(out, data[:n]...)
		if data = data[n:]; len(data) == 0 {
			return out
		}
	}
}

func (s *Server) carveRow(c *carve) obj {
	row := obj{
		"id": c.id, "node_id": c.host.id, "session_id": c.session, "carve_guid": c.guid, "carve_size": c.told,
		"block_size": c.block, "block_count": c.blocks(), "archive": nil, "status": c.status, "created_at": pyISO(c.created),
	}
	if c.status == carveCompleted {
		row["archive"] = c.session + c.guid + c.suffix
	}
	if s.profile.v4 {
		row["created_at"] = c.created.Format(layoutCarve4)
	}
	return row
}

// API: POST /carves, newest first.
func (s *Server) carvesList(c *call) answer {
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 10)
	if c.null("limit") {
		limit = -1
	}
	column := c.choice("column", "column", "hostname", "created_at")
	order := c.choice("order_by", "order_by", "asc", "desc")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if c.negativePage() {
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*carve
	total := 0
	identifier, search := c.text("host_identifier"), strings.ToLower(c.text("searchterm"))
	if identifier != "" && s.hostRefs[strings.ToUpper(identifier)] == nil {
		return s.fail("No Host present for the host identifier given!")
	}
	for _, one := range s.carves {
		if identifier != "" && !strings.EqualFold(one.host.identifier, identifier) {
			continue
		}
		total++
		if strings.Contains(strings.ToLower(one.host.name+" "+one.session), search) {
			found = append(found, one)
		}
	}
	switch {
	case column == "hostname" && identifier == "":
		slices.SortStableFunc(found, func(a, b *carve) int { return strings.Compare(a.host.name, b.host.name) })
		if order == "desc" {
			slices.Reverse(found)
		}
	case column == "" || identifier != "" || order == "desc":
		slices.Reverse(found)
	}
	rows := []obj{}
	for _, one := range page(found, start, limit) {
		row := s.carveRow(one)
		row["hostname"] = one.host.name
		rows = append(rows, row)
	}
	return s.ok("Successfully fetched the Carves data", obj{"count": len(found), "results": rows, "total_count": total})
}

// API: POST /carves/query: the carve that a live query started on a host. Not in
// the guide of release 4.0, but in its source.
func (s *Server) carvesQuery(c *call) answer {
	c.need("query_id", "query_id")
	c.need("host_identifier", "host_identifier")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hostRefs[strings.ToUpper(c.text("host_identifier"))]
	if h == nil {
		return s.fail("Node with this identifier does not exists")
	}
	id, err := strconv.ParseInt(c.text("query_id"), 10, 64)
	if err != nil {
		return s.crash() // observed on release 2.1.2
	}
	for _, one := range s.carves {
		if one.host == h && one.query == id && id != 0 {
			return s.ok("Successfully fetched the Carve", s.carveRow(one))
		}
	}
	return s.fail("Carve not started")
}

const noCarve = "No Carve is found for the session id provided!"

func (s *Server) carve(session string) int {
	return slices.IndexFunc(s.carves, func(c *carve) bool { return c.session == session })
}

// API: GET /carves/download/{session_id}. Before completion the handler breaks.
func (s *Server) carvesDownload(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.carve(c.path["session"])
	switch {
	case at < 0:
		return s.fail(noCarve)
	case s.carves[at].status != carveCompleted:
		return s.crash()
	}
	data := s.carves[at].data
	return answer{
		status: http.StatusOK, contentType: "application/octet-stream", body: data,
		stream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data)) // the proxy knows ranges
		}),
	}
}

// API: POST /carves/delete. A comma list in 4.0; data is null in both releases.
func (s *Server) carvesDelete(c *call) answer {
	c.need("session_id", "session_id")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	sessions := []string{c.text("session_id")}
	if s.profile.v4 {
		sessions = c.list("session_id")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	deleted := 0
	for _, session := range sessions {
		if at := s.carve(session); at >= 0 {
			s.carves = slices.Delete(s.carves, at, at+1)
			deleted++
		}
	}
	out := obj{"status": "success", "message": "Successfully deleted the Carve for the session id given!", "data": nil}
	if deleted == 0 {
		out["status"], out["message"] = "failure", noCarve
	}
	return jsonAnswer(http.StatusOK, out)
}
