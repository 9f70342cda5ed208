package ersim

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// huntTable lists the calls around the section Hunt.
func (s *Server) huntTable() []route {
	return []route{
		{"hunt-upload", "POST", "/hunt-upload", needToken, s.huntUpload, nil},
		{"hunt-upload-export", "POST", "/hunt-upload/export", needToken, s.huntExport, nil},
		{"indicators-upload", "POST", "/indicators/upload", needToken, s.indicatorsUpload, nil},
		{"indicators-upload-export", "POST", "/indicators/upload/export", needToken, s.indicatorsExport, nil},
		{"indicators-hunt", "POST", "/indicators/hunt", needToken, s.indicatorsHunt, nil},
	}
}

const (
	missingFile = "Missing required parameter in an uploaded file"
	hunted      = "Successfully fetched the results through the hunt"
	badHunt     = "We are unable to read this file with this format!"
)

// needFile notes a mistake unless a file was uploaded.
func (c *call) needFile(help string) {
	if c.file == nil {
		c.mistake("file", help, missingFile)
	}
}

// indicatorLines are the lines of the upload; ok is false for what is not UTF-8.
// Release 2.1.2 keeps empty ones.
func (s *Server) indicatorLines(c *call) (lines []string, ok bool) {
	if !utf8.Valid(c.file) {
		return nil, false
	}
	for line := range bytes.Lines(c.file) {
		text := strings.NewReplacer("\r", "", "\n", "").Replace(string(line))
		if text != "" || !s.profile.v4 {
			lines = append(lines, text)
		}
	}
	return lines, true
}

// among fits events whose column has one of the texts.
func among(column string, texts []string) matcher {
	return func(columns map[string]string) bool {
		text, ok := columns[column]
		return ok && slices.Contains(texts, text)
	}
}

// API: POST /hunt-upload.
func (s *Server) huntUpload(c *call) answer {
	c.needFile("Threat file")
	c.need("type", "type of hunt (md5/sha256/domain name)")
	kind := c.choice("type", "type of hunt (md5/sha256/domain name)", indexedColumns...)
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 100)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	lines, ok := s.indicatorLines(c)
	if !ok {
		return s.fail(badHunt)
	}
	return s.hunted(c, among(kind, lines), start, limit)
}

// API: POST /indicators/hunt.
func (s *Server) indicatorsHunt(c *call) answer {
	c.need("indicators", "Hashed Threat indicators")
	c.need("type", "type of threat (md5/sha256)")
	kind := c.choice("type", "type of threat (md5/sha256)", indexedColumns...)
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 100)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	// Blanks stay a part of what they stand beside.
	texts := strings.Split(c.text("indicators"), ",")
	if s.profile.v4 {
		texts = slices.DeleteFunc(strings.Split(strings.TrimSpace(c.text("indicators")), ","), func(text string) bool { return text == "" })
	}
	return s.hunted(c, among(kind, texts), start, limit)
}

// hunted answers with counts, or with the columns of one query on one host.
func (s *Server) hunted(c *call, fits matcher, start, limit int64) answer {
	identifier, query := c.text("host_identifier"), c.text("query_name")
	switch {
	case identifier == "":
		return s.ok(hunted, countByHost(pick(s.storedEvents(anyHost), "", fits)))
	case !s.hasHost(identifier):
		return s.fail("Please provide correct host identifier!")
	case query == "":
		return s.fail("Please provide the query name!")
	case start < 0 || limit < 0:
		return s.fail("(psycopg2.errors.InvalidRowCountInResultOffsetClause) OFFSET must not be negative")
	}
	return s.ok(hunted, bareRows(pick(s.storedEvents(exactly(identifier)), query, fits), start, limit))
}

// API: POST /hunt-upload/export.
func (s *Server) huntExport(c *call) answer {
	c.needFile("Threat file")
	c.need("type", "type of hunt (md5/sha256/domain name)")
	kind := c.choice("type", "type of hunt (md5/sha256/domain name)", indexedColumns...)
	c.need("host_identifier", "host_identifier of the node")
	c.need("query_name", "query_name")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	lines, ok := s.indicatorLines(c)
	if !ok {
		return s.fail(badHunt)
	}
	if !s.hasHost(c.text("host_identifier")) {
		return s.fail("Host identifier given is wrong!")
	}
	found := pick(s.storedEvents(exactly(c.text("host_identifier"))), c.text("query_name"), among(kind, lines))
	return s.eventFile("hunt_query_results.csv", found)
}

// API: POST /indicators/upload: whole rows of a window.
func (s *Server) indicatorsUpload(c *call) answer {
	c.needFile("Threat file")
	c.need("indicator_type", "type of indicator (md5/sha256/domain name)")
	kind := c.choice("indicator_type", "type of indicator (md5/sha256/domain name)", indexedColumns...)
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 100)
	from, to, refusal := s.eventWindow(c)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if refusal != nil {
		return *refusal
	}
	lines, ok := s.indicatorLines(c)
	switch {
	case !ok:
		return s.fail(badHunt)
	case start < 0 || limit < 0:
		return s.fail("(psycopg2.errors.InvalidRowCountInLimitClause) LIMIT must not be negative")
	}
	found := pick(s.storedEvents(s.hostOrAll(c.text("host_identifier"))), c.text("query_name"), among(kind, lines))
	return s.ok(hunted, s.wholeRows(within(found, from, to), start, limit))
}

// API: POST /indicators/upload/export. Release 4.0 ignores host and query.
func (s *Server) indicatorsExport(c *call) answer {
	c.needFile("Threat file")
	c.need("indicator_type", "type of indicator (md5/sha256/domain name)")
	kind := c.choice("indicator_type", "type of indicator (md5/sha256/domain name)", indexedColumns...)
	from, to, refusal := s.eventWindow(c)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if refusal != nil {
		return *refusal
	}
	lines, ok := s.indicatorLines(c)
	if !ok {
		return s.fail(badHunt)
	}
	hosts, query := anyHost, ""
	if !s.profile.v4 {
		hosts, query = s.hostOrAll(c.text("host_identifier")), c.text("query_name")
	}
	return s.eventFile("hunt_query_results.csv", within(pick(s.storedEvents(hosts), query, among(kind, lines)), from, to))
}
