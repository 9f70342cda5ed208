package sinksim

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// SecOps is the ingestion part of Google SecOps, with one instance, together with
// the endpoint that gives tokens for it. It is an http.Handler.
type SecOps struct {
	// Account is the e-mail address of the service account, and Key its public key.
	Account string
	Key     *rsa.PublicKey
	// TokenURI is the address of the token endpoint (/token of this handler), which
	// assertions are for.
	TokenURI string
	// Instance is projects/P/locations/L/instances/I.
	Instance string
	// LogTypes are those with a parser.
	LogTypes []string
	// NoPermission refuses the account.
	NoPermission bool
	// Refuse, if set, says why an event is not taken; empty takes it.
	Refuse func(udm map[string]any) string

	answers answers
	tokens  tokens

	mu     sync.Mutex
	events []map[string]any
	logs   []SecOpsLog
}

// SecOpsLog is a raw log that was taken.
type SecOpsLog struct {
	Type      string
	Forwarder string
	Data      []byte
	Logged    time.Time
	Collected time.Time
}

// maxSecOpsBody bounds a request after decompression.
const maxSecOpsBody = 1 << 20

// Next queues answers for the next calls of the API; requests for tokens have none.
func (s *SecOps) Next(next ...Answer) { s.answers.add(next...) }

// Events are the UDM events taken so far, repeats included.
func (s *SecOps) Events() []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Logs are the raw logs taken so far, repeats included.
func (s *SecOps) Logs() []SecOpsLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logs)
}

// RevokeTokens makes all tokens invalid.
func (s *SecOps) RevokeTokens() { s.tokens.revoke() }

// ServeHTTP implements http.Handler.
func (s *SecOps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		s.serveToken(w, r)
		return
	}
	if s.answers.give(w, false) {
		return
	}
	refuse := func(code int, status, message string) {
		answerJSON(w, code, map[string]any{"error": map[string]any{"code": code, "status": status, "message": message}})
	}
	path, inside := strings.CutPrefix(r.URL.Path, "/v1/"+s.Instance+"/")
	logType, raw := strings.CutPrefix(path, "logTypes/")
	logType, isImport := strings.CutSuffix(logType, "/logs:import")
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.Method != http.MethodPost:
		refuse(http.StatusMethodNotAllowed, "UNIMPLEMENTED", "method not allowed")
		return
	case !s.tokens.takes(token):
		refuse(http.StatusUnauthorized, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
		return
	case !inside || raw && !isImport || !raw && path != "events:import":
		refuse(http.StatusNotFound, "NOT_FOUND", "Requested entity was not found.")
		return
	case s.NoPermission:
		refuse(http.StatusForbidden, "PERMISSION_DENIED", "Permission 'chronicle.events.import' denied")
		return
	case raw && !slices.Contains(s.LogTypes, logType):
		refuse(http.StatusNotFound, "NOT_FOUND", "log type "+logType+" not found")
		return
	}
	body, err := readBody(r, maxSecOpsBody)
	if errors.Is(err, errTooMuch) {
		refuse(http.StatusRequestEntityTooLarge, "INVALID_ARGUMENT", "Request payload size exceeds the limit")
		return
	}
	if err == nil {
		if raw {
			err = s.takeLogs(logType, body)
		} else {
			err = s.takeEvents(body)
		}
	}
	switch {
	case s.answers.give(w, true):
	case err != nil:
		refuse(http.StatusBadRequest, "INVALID_ARGUMENT", err.Error())
	default:
		answerJSON(w, http.StatusOK, map[string]any{})
	}
}

// strictly decodes as the API does: what it does not know is an error.
func strictly(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// takeEvents takes all events or none.
func (s *SecOps) takeEvents(body []byte) error {
	var request struct {
		Source struct {
			Events []struct {
				UDM map[string]any `json:"udm"`
			} `json:"events"`
		} `json:"inlineSource"`
	}
	if err := strictly(body, &request); err != nil {
		return fmt.Errorf("Invalid JSON payload received. %w", err)
	}
	if len(request.Source.Events) == 0 {
		return errors.New("inline_source.events is required")
	}
	var taken []map[string]any
	for i, ev := range request.Source.Events {
		if err := CheckUDM(ev.UDM); err != nil {
			return fmt.Errorf("events[%d]: %w", i, err)
		}
		if s.Refuse != nil {
			if why := s.Refuse(ev.UDM); why != "" {
				return fmt.Errorf("events[%d]: %s", i, why)
			}
		}
		taken = append(taken, ev.UDM)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, taken...)
	return nil
}

// The nouns of UDM, besides metadata, additional and security_result.
var udmNouns = []string{"principal", "src", "target", "intermediary", "observer", "about", "network"}

// CheckUDM reports what the API refuses in an event: a missing time or type, an
// unknown part, or an address that is none ("UDM usage guide").
func CheckUDM(udm map[string]any) error {
	stamp, _ := lookup(udm, "metadata.event_timestamp").(string)
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
		return fmt.Errorf("metadata.event_timestamp: %w", err)
	}
	kind, _ := lookup(udm, "metadata.event_type").(string)
	if kind == "" {
		return errors.New("metadata.event_type is required")
	}
	for name, value := range udm {
		if !slices.Contains(append(slices.Clone(udmNouns), "metadata", "additional", "security_result"), name) {
			return fmt.Errorf("unknown name %q", name)
		}
		noun, _ := value.(map[string]any)
		for _, ip := range values(noun["ip"]) {
			text, _ := ip.(string)
			if _, err := netip.ParseAddr(text); err != nil {
				return fmt.Errorf("%s.ip: %w", name, err)
			}
		}
	}
	principal, _ := udm["principal"].(map[string]any)
	machine := false
	for _, name := range []string{"hostname", "asset_id", "ip", "mac"} {
		machine = machine || principal[name] != nil
	}
	if kind != "GENERIC_EVENT" && !machine {
		return fmt.Errorf("%s needs a machine as principal", kind)
	}
	if strings.HasPrefix(kind, "PROCESS_") && lookup(udm, "target.process") == nil {
		return fmt.Errorf("%s needs target.process", kind)
	}
	if strings.HasPrefix(kind, "FILE_") && lookup(udm, "target.file") == nil {
		return fmt.Errorf("%s needs target.file", kind)
	}
	return nil
}

// takeLogs takes all logs or none.
func (s *SecOps) takeLogs(logType string, body []byte) error {
	var request struct {
		Source struct {
			Logs []struct {
				Data      []byte    `json:"data"`
				Logged    time.Time `json:"logEntryTime"`
				Collected time.Time `json:"collectionTime"`
			} `json:"logs"`
			Forwarder string `json:"forwarder"`
		} `json:"inlineSource"`
	}
	if err := strictly(body, &request); err != nil {
		return fmt.Errorf("Invalid JSON payload received. %w", err)
	}
	if f := request.Source.Forwarder; f != "" && !strings.HasPrefix(f, s.Instance+"/forwarders/") {
		return fmt.Errorf("forwarder %q is not of this instance", f)
	}
	var taken []SecOpsLog
	for i, entry := range request.Source.Logs {
		if len(entry.Data) == 0 {
			return fmt.Errorf("logs[%d]: data is required", i)
		}
		if entry.Collected.IsZero() || !entry.Collected.After(entry.Logged) {
			return fmt.Errorf("logs[%d]: collection_time must be after log_entry_time", i)
		}
		taken = append(taken, SecOpsLog{logType, request.Source.Forwarder, entry.Data, entry.Logged, entry.Collected})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs = append(s.logs, taken...)
	return nil
}

// serveToken is the flow for service accounts (RFC 7523): it verifies the
// signature and what the assertion says.
func (s *SecOps) serveToken(w http.ResponseWriter, r *http.Request) {
	refuse := func(code, message string) {
		answerJSON(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": message})
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse("unsupported_grant_type", "Invalid grant_type")
		return
	}
	if err := s.verify(r.PostForm.Get("assertion")); err != nil {
		refuse("invalid_grant", "Invalid JWT "+r.PostForm.Get("assertion")+": "+err.Error())
		return
	}
	s.tokens.issue(w, time.Hour)
}

func (s *SecOps) verify(assertion string) error {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return errors.New("it has not three parts")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(s.Key, crypto.SHA256, digest[:], signature); err != nil {
		return err
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Scope    string `json:"scope"`
		Expires  int64  `json:"exp"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	switch {
	case claims.Issuer != s.Account:
		return fmt.Errorf("unknown account %q", claims.Issuer)
	case claims.Audience != s.TokenURI:
		return fmt.Errorf("it is for %q", claims.Audience)
	case !strings.Contains(claims.Scope, "/auth/cloud-platform"):
		return fmt.Errorf("scope %q", claims.Scope)
	case time.Now().After(time.Unix(claims.Expires, 0)):
		return errors.New("it has expired")
	}
	return nil
}
