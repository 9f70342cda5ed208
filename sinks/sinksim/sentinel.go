package sinksim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Sentinel is the Logs Ingestion API of Azure Monitor with one data collection
// rule, together with the Entra ID that gives tokens for it. It is an http.Handler.
type Sentinel struct {
	// Tenant, ClientID and ClientSecret are those of the application.
	Tenant, ClientID, ClientSecret string
	// Rule is the immutable id of the rule, and Stream its only stream.
	Rule, Stream string
	// Columns are the columns of the stream with their types. What is not among them
	// is dropped without an error, and a value of another type becomes null.
	Columns map[string]string
	// NoRole refuses the application, as before its role has reached all servers.
	NoRole bool

	answers answers
	tokens  tokens

	mu      sync.Mutex
	records []map[string]any
	losses  map[string]bool
}

// Limits of the API (Azure Monitor service limits).
const (
	maxSentinelCall   = 1 << 20
	maxSentinelColumn = 64 << 10
)

// Next queues answers for the next calls of the API; requests for tokens have none.
func (s *Sentinel) Next(next ...Answer) { s.answers.add(next...) }

// Records are the rows that arrived, repeats included.
func (s *Sentinel) Records() []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// Losses says what Azure would have thrown away without a word.
func (s *Sentinel) Losses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.losses))
}

// RevokeTokens makes all tokens invalid.
func (s *Sentinel) RevokeTokens() { s.tokens.revoke() }

// Tokens counts the tokens that were given out.
func (s *Sentinel) Tokens() int { return s.tokens.count() }

// ServeHTTP implements http.Handler.
func (s *Sentinel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
		s.serveToken(w, r)
		return
	}
	if s.answers.give(w, false) {
		return
	}
	refuse := func(status int, code, message string) {
		answerJSON(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.Method != http.MethodPost || r.URL.Query().Get("api-version") != "2023-01-01":
		refuse(http.StatusBadRequest, "InvalidApiVersion", "the api-version is not supported")
		return
	case !s.tokens.takes(token):
		refuse(http.StatusUnauthorized, "InvalidToken", "the token is expired or not valid")
		return
	case s.NoRole:
		refuse(http.StatusForbidden, "OperationFailed", "the authentication token provided does not have access to ingest data for the data collection rule")
		return
	case r.URL.Path != "/dataCollectionRules/"+s.Rule+"/streams/"+s.Stream:
		refuse(http.StatusNotFound, "NotFound", "data collection rule with immutable Id was not found")
		return
	case r.Header.Get("Content-Type") != "application/json":
		refuse(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "expected application/json")
		return
	}
	body, err := readBody(r, maxSentinelCall)
	if errors.Is(err, errTooMuch) {
		refuse(http.StatusRequestEntityTooLarge, "ContentLengthLimitExceeded", "maximum allowed content length is 1 MB")
		return
	}
	var records []map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err == nil {
		err = decoder.Decode(&records)
	}
	if err != nil || decoder.More() {
		refuse(http.StatusBadRequest, "InvalidPayload", "the payload is no JSON array of objects")
		return
	}
	s.mu.Lock()
	for _, record := range records {
		s.records = append(s.records, s.transform(record))
	}
	s.mu.Unlock()
	if s.answers.give(w, true) {
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// serveToken is the client credentials flow of Entra ID.
func (s *Sentinel) serveToken(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code, message string) {
		answerJSON(w, status, map[string]any{"error": code, "error_description": message})
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	tenant, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.Method != http.MethodPost || r.ParseForm() != nil:
		refuse(http.StatusBadRequest, "invalid_request", "AADSTS900561: the endpoint only accepts POST requests")
	case tenant != s.Tenant:
		refuse(http.StatusBadRequest, "invalid_request", "AADSTS90002: Tenant '"+tenant+"' not found")
	case r.PostForm.Get("grant_type") != "client_credentials":
		refuse(http.StatusBadRequest, "unsupported_grant_type", "AADSTS70003: the grant type is not supported")
	case r.PostForm.Get("client_id") != s.ClientID:
		refuse(http.StatusBadRequest, "unauthorized_client", "AADSTS700016: application was not found in the directory")
	case r.PostForm.Get("client_secret") != s.ClientSecret:
		refuse(http.StatusUnauthorized, "invalid_client", "AADSTS7000215: invalid client secret provided: "+r.PostForm.Get("client_secret"))
	case !strings.HasSuffix(r.PostForm.Get("scope"), "/.default"):
		refuse(http.StatusBadRequest, "invalid_scope", "AADSTS1002012: the scope is not valid")
	default:
		s.tokens.issue(w, time.Hour)
	}
}

// transform is what becomes of a record between the API and the table.
func (s *Sentinel) transform(record map[string]any) map[string]any {
	lost := func(format string, args ...any) {
		if s.losses == nil {
			s.losses = map[string]bool{}
		}
		s.losses[fmt.Sprintf(format, args...)] = true
	}
	row := map[string]any{}
	for name, value := range record {
		kind, declared := s.Columns[name]
		switch {
		case !declared:
			lost("%s is not declared", name)
		case !fits(kind, value):
			lost("%s is no %s: %v", name, kind, value)
		default:
			row[name] = value
			var text bytes.Buffer
			encoder := json.NewEncoder(&text)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(value); err != nil || text.Len() > maxSentinelColumn {
				lost("%s is longer than 64 KB", name)
			}
		}
	}
	if row["TimeGenerated"] == nil {
		lost("TimeGenerated is missing")
	}
	return row
}

func fits(kind string, value any) bool {
	switch kind {
	case "string":
		_, ok := value.(string)
		return ok
	case "int", "long":
		number, ok := value.(json.Number)
		_, err := number.Int64()
		return ok && err == nil
	case "datetime":
		text, _ := value.(string)
		_, err := time.Parse(time.RFC3339Nano, text)
		return err == nil
	}
	return kind == "dynamic"
}
