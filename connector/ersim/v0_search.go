package ersim

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// v0SearchTable lists the calls around stored events, indicators, YARA and the
// schema. Most are those of v1. The documents have the paths of schema and configs
// without a slash, the source with one.
func (s *Server) v0SearchTable() []route {
	return []route{
		{"v0-schema", "GET", "/schema", needToken, s.schemaList, nil},
		{"v0-schema", "GET", "/schema/", needToken, s.schemaList, nil},
		{"v0-schema-get", "GET", "/schema/{table}", needToken, s.schemaGet, nil},

		{"v0-search", "POST", "/search", needToken, s.searchEvents, nil},
		{"v0-nodes-search-export", "POST", "/nodes/search/export", needToken, s.v0SearchExport, nil},
		{"v0-hunt-upload", "POST", "/hunt-upload", needToken, s.huntUpload, nil},

		{"v0-iocs", "GET", "/iocs/", needToken, s.iocsList, nil},
		{"v0-iocs-add", "POST", "/iocs/add", needToken, s.v0IOCsAdd, nil},
		{"v0-yara", "GET", "/yara/", needToken, s.yaraList, nil},
		{"v0-yara-add", "POST", "/yara/add", needToken, s.yaraAdd, nil},
	}
}

// API: POST /nodes/search/export: a table for each query, one below the other, with
// a line before that names node and query, and a line without content behind.
// Without a node nothing is found.
func (s *Server) v0SearchExport(c *call) answer {
	c.need("conditions", "conditions to search for")
	conditions := c.object("conditions", "conditions to search for")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	p := conditionParser{operators: searchOperators, v4: s.profile.v4}
	fits, err := p.group(conditions)
	if err != nil {
		return s.fail(err.Error())
	}
	found := pick(s.storedEvents(exactly(c.text("host_identifier"))), "", fits)
	switch {
	case p.broken:
		return s.fail("Unable to find data for the payload given")
	case p.foreign || len(found) == 0:
		return s.fail("there are no matching results for the payload given")
	}
	var queries []string
	byQuery := map[string][]event{}
	for _, e := range found {
		if byQuery[e.query] == nil {
			queries = append(queries, e.query)
		}
		byQuery[e.query] = append(byQuery[e.query], e.event)
	}
	var lines [][]string
	for _, query := range queries {
		header, rows := s.eventTable(byQuery[query])
		lines = append(lines, []string{found[0].host.identifier, query, strconv.Itoa(len(rows))}, header)
		lines = append(append(lines, rows...), []string{"", "", ""})
	}
	return csvFile("node_search_results.csv", lines[0], lines[1:])
}

// API: POST /iocs/add: a file of the form that v1 takes as a body. All that was
// there is gone before the first value is written, and stays so when the file turns
// out to be bad.
func (s *Server) v0IOCsAdd(c *call) answer {
	c.needFile("Threat file")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	var content struct {
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(c.file, &content); err != nil {
		return s.fail(err.Error())
	}
	if content.Data == nil {
		return s.fail(keyError("data").Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.iocs.rows = nil
	for _, name := range sortedKeys(content.Data) {
		if err := s.addIndicators(name, content.Data[name]); err != nil {
			return s.fail(err.Error())
		}
	}
	return jsonAnswer(http.StatusOK, obj{"status": "success", "message": "Successfully updated the intel from the file uploaded"})
}

var errNoList = errors.New("string indices must be integers")

// addIndicators writes the values of one entry of the file.
func (s *Server) addIndicators(name string, entry any) error {
	list, ok := entry.(obj)
	if !ok {
		return errNoList
	}
	for _, key := range []string{"values", "type", "severity"} {
		if !hasKey(list, key) {
			return keyError(key)
		}
	}
	given := args{values: list}
	values := given.array("values")
	if _, isText := list["values"].(string); isText {
		values = given.list("values")
	}
	for _, value := range values {
		s.iocs.rows = append(s.iocs.rows, indicator{name, pyText(list["type"]), pyText(list["severity"]), value})
	}
	return nil
}
