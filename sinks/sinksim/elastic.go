package sinksim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Elastic is the bulk API of an Elasticsearch or OpenSearch server, with its index
// templates and look-ups by id. It knows the types of the ECS fields that refuse a
// wrong value, and treats every index whose name begins with logs- as a data
// stream. It is an http.Handler.
type Elastic struct {
	// OpenSearch makes it that product instead of Elasticsearch 8.
	OpenSearch bool
	// Authorization is the header that senders must have; empty takes all.
	Authorization string
	// MaxBytes bounds a request after decompression; 0 is 100 MiB.
	MaxBytes int
	// Judge, if set, gives the status of a document before it is looked at; 0
	// goes on as usual.
	Judge func(index, id string) int

	answers answers

	mu        sync.Mutex
	documents map[string]map[string]any // index and id
	order     []string
	repeats   int
	templates map[string]json.RawMessage
}

// Next queues answers for the next requests.
func (e *Elastic) Next(next ...Answer) { e.answers.add(next...) }

// Documents are the documents that are stored, in the order of their arrival.
func (e *Elastic) Documents() []map[string]any {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]map[string]any, len(e.order))
	for i, key := range e.order {
		out[i] = e.documents[key]
	}
	return out
}

// Document is the document with that id, or nil.
func (e *Elastic) Document(index, id string) map[string]any {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.documents[index+"/"+id]
}

// Repeats counts the documents that came again and were refused for it.
func (e *Elastic) Repeats() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.repeats
}

type bulkError struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

type bulkResult struct {
	Index   string     `json:"_index,omitempty"`
	ID      string     `json:"_id,omitempty"`
	Version int        `json:"_version,omitempty"`
	Result  string     `json:"result,omitempty"`
	Status  int        `json:"status"`
	Error   *bulkError `json:"error,omitempty"`
}

// bulkTypes are the content types that the bulk API reads.
var bulkTypes = []string{
	"application/x-ndjson", "application/json",
	"application/vnd.elasticsearch+x-ndjson;compatible-with=8", "application/vnd.elasticsearch+json;compatible-with=8",
}

// ServeHTTP answers as Elasticsearch 8 does, or OpenSearch 2.
func (e *Elastic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !e.OpenSearch {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
	}
	w.Header().Set("Content-Type", "application/json")
	if e.answers.give(w, false) {
		return
	}
	limit := e.MaxBytes
	if limit == 0 {
		limit = 100 << 20
	}
	switch {
	case e.Authorization != "" && !sameAuthorization(r.Header.Get("Authorization"), e.Authorization):
		e.refuse(w, http.StatusUnauthorized, "security_exception", "unable to authenticate")
		return
	case !strings.HasSuffix(r.URL.Path, "/_bulk"):
		e.serveOther(w, r)
		return
	case r.Method != http.MethodPost && r.Method != http.MethodPut:
		e.refuse(w, http.StatusMethodNotAllowed, "illegal_argument_exception", "no handler found")
		return
	case !slices.Contains(bulkTypes, r.Header.Get("Content-Type")):
		e.refuse(w, http.StatusNotAcceptable, "media_type_header_exception", "invalid Content-Type")
		return
	}
	body, err := readBody(r, limit)
	switch {
	case errors.Is(err, errTooMuch):
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		e.refuse(w, http.StatusBadRequest, "parse_exception", err.Error())
		return
	case !bytes.HasSuffix(body, []byte("\n")):
		e.refuse(w, http.StatusBadRequest, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
		return
	}
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	if len(lines)%2 != 0 {
		e.refuse(w, http.StatusBadRequest, "illegal_argument_exception", "Malformed action/metadata line")
		return
	}
	items, failed := []map[string]bulkResult{}, false
	for i := 0; i < len(lines); i += 2 {
		var action map[string]struct {
			Index string `json:"_index"`
			ID    string `json:"_id"`
		}
		if err := json.Unmarshal(lines[i], &action); err != nil || len(action) != 1 {
			e.refuse(w, http.StatusBadRequest, "illegal_argument_exception", "Malformed action/metadata line")
			return
		}
		for verb, to := range action {
			index := cmp.Or(to.Index, path.Base(strings.TrimSuffix(r.URL.Path, "/_bulk")))
			result := e.store(verb, index, to.ID, lines[i+1])
			if r.URL.Query().Get("filter_path") == "" {
				result.Index, result.ID = index, to.ID
			} else {
				result.Version, result.Result = 0, ""
			}
			failed = failed || result.Error != nil
			items = append(items, map[string]bulkResult{verb: result})
		}
	}
	if e.answers.give(w, true) {
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": failed, "items": items}) // the sender's loss
}

// sameAuthorization compares schemes without regard to case (RFC 9110, section 11.1).
func sameAuthorization(got, want string) bool {
	gotScheme, got, _ := strings.Cut(got, " ")
	wantScheme, want, _ := strings.Cut(want, " ")
	return strings.EqualFold(gotScheme, wantScheme) && got == want
}

func (e *Elastic) refuse(w http.ResponseWriter, status int, kind, reason string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": bulkError{kind, reason}, "status": status}) // the sender's loss
}

func (e *Elastic) store(verb, index, id string, line []byte) bulkResult {
	no := func(status int, kind, format string, args ...any) bulkResult {
		return bulkResult{Status: status, Error: &bulkError{kind, fmt.Sprintf(format, args...)}}
	}
	if verb != "create" && strings.HasPrefix(index, "logs-") {
		return no(http.StatusBadRequest, "illegal_argument_exception", "only write ops with an op_type of create are allowed in data streams")
	}
	if index == "" || strings.ToLower(index) != index {
		return no(http.StatusBadRequest, "invalid_index_name_exception", "Invalid index name [%s], must be lowercase", index)
	}
	if len(id) > 512 {
		return no(http.StatusBadRequest, "illegal_argument_exception", "id is too long, must be no longer than 512 bytes but was: %d", len(id))
	}
	if e.Judge != nil {
		if status := e.Judge(index, id); status >= 300 {
			return no(status, "es_rejected_execution_exception", "as asked")
		}
	}
	var doc map[string]any
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		return no(http.StatusBadRequest, "document_parsing_exception", "failed to parse: %v", err)
	}
	if strings.HasPrefix(index, "logs-") {
		if _, ok := lookup(doc, "@timestamp").(string); !ok {
			return no(http.StatusBadRequest, "document_parsing_exception", "data stream timestamp field [@timestamp] is missing")
		}
	}
	if columns, _ := lookup(doc, "eclecticiq.er.columns").(map[string]any); e.OpenSearch {
		for name, value := range columns { // a flat_object has no ignore_above
			if text, _ := value.(string); len(text) > 32766 {
				return no(http.StatusBadRequest, "illegal_argument_exception",
					"Document contains at least one immense term in field=\"eclecticiq.er.columns.%s\" (whose UTF8 encoding is longer than the max length 32766)", name)
			}
		}
	}
	if err := CheckECS(doc); err != nil {
		return no(http.StatusBadRequest, "document_parsing_exception", "%v", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	key := index + "/" + id
	if _, ok := e.documents[key]; ok && verb == "create" {
		e.repeats++
		return no(http.StatusConflict, "version_conflict_engine_exception", "[%s]: version conflict, document already exists", id)
	}
	if e.documents == nil {
		e.documents = map[string]map[string]any{}
	}
	e.documents[key] = doc
	e.order = append(e.order, key)
	return bulkResult{Status: http.StatusCreated, Version: 1, Result: "created"}
}

// The ECS fields whose mapping refuses a document with a wrong value.
var (
	ecsDates = []string{"@timestamp", "event.created", "event.start", "event.end", "process.start"}
	ecsIPs   = []string{"host.ip", "source.ip", "destination.ip", "dns.resolved_ip", "related.ip", "threat.indicator.ip"}
	ecsLongs = []string{"event.severity", "event.duration", "process.pid", "process.parent.pid", "source.port", "destination.port"}
)

// CheckECS reports a value that the mapping of ECS 8.17 does not take, or a field
// name that stands for two things at once.
func CheckECS(doc map[string]any) error {
	for _, path := range ecsDates {
		for _, v := range values(lookup(doc, path)) {
			text, _ := v.(string)
			if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
				return fmt.Errorf("failed to parse field [%s] of type [date]: %v", path, v)
			}
		}
	}
	for _, path := range ecsIPs {
		for _, v := range values(lookup(doc, path)) {
			text, _ := v.(string)
			if addr, err := netip.ParseAddr(text); err != nil || addr.Zone() != "" {
				return fmt.Errorf("failed to parse field [%s] of type [ip]: %v", path, v)
			}
		}
	}
	for _, path := range ecsLongs {
		for _, v := range values(lookup(doc, path)) {
			number, ok := v.(json.Number)
			if _, err := number.Int64(); !ok || err != nil {
				return fmt.Errorf("failed to parse field [%s] of type [long]: %v", path, v)
			}
		}
	}
	return dotted(doc, "")
}

func dotted(doc map[string]any, at string) error {
	for key, value := range doc {
		if strings.TrimSpace(key) == "" || slices.Contains(strings.Split(key, "."), "") {
			return fmt.Errorf("field name [%s%s] is blank or has an empty part", at, key)
		}
		if head, _, found := strings.Cut(key, "."); found {
			if _, clash := doc[head]; clash {
				return fmt.Errorf("[%s%s] is both an object and a value", at, head)
			}
		}
		if inner, ok := value.(map[string]any); ok {
			if err := dotted(inner, at+key+"."); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookup finds a value at a path of objects.
func lookup(doc map[string]any, path string) any {
	head, rest, more := strings.Cut(path, ".")
	if !more {
		return doc[head]
	}
	inner, _ := doc[head].(map[string]any)
	return lookup(inner, rest)
}

func values(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}
