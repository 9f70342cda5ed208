package sinksim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Webhook receives signed webhooks and verifies them as Standard Webhooks asks a
// receiver to: signature, age, and the id against repeats. It is an http.Handler.
type Webhook struct {
	keys [][]byte
	now  func() time.Time

	mu       sync.Mutex
	seen     map[string]bool
	received []WebhookMessage
	refused  []error
	answers  []Answer
}

// WebhookMessage is one accepted request. Repeat marks an id that came before.
type WebhookMessage struct {
	ID        string
	Timestamp time.Time
	Type      string
	Body      []byte
	Header    http.Header
	Repeat    bool
}

// maxWebhookAge is how old a timestamp may be, in either direction.
const maxWebhookAge = 5 * time.Minute

// NewWebhook makes a receiver that takes signatures of any of the secrets
// (whsec_...). now is the clock; nil means time.Now.
func NewWebhook(now func() time.Time, secrets ...string) (*Webhook, error) {
	if now == nil {
		now = time.Now
	}
	h := &Webhook{now: now, seen: map[string]bool{}}
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			return nil, fmt.Errorf("webhook secret: %w", err)
		}
		h.keys = append(h.keys, key)
	}
	return h, nil
}

// Received are the accepted requests, repeats included.
func (h *Webhook) Received() []WebhookMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.received)
}

// Refused says why requests were refused.
func (h *Webhook) Refused() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.refused)
}

// Next queues answers for the next requests.
func (h *Webhook) Next(answers ...Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers = append(h.answers, answers...)
}

// ServeHTTP implements http.Handler.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "body", http.StatusRequestEntityTooLarge)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var planned *Answer
	if len(h.answers) > 0 {
		planned = &h.answers[0]
		h.answers = h.answers[1:]
	}
	if planned != nil && !planned.After {
		send(w, planned.Status, planned.Header, planned.Body)
		return
	}
	m, err := h.verify(r.Header, body)
	if err != nil {
		h.refused = append(h.refused, err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	m.Repeat = h.seen[m.ID]
	h.seen[m.ID] = true
	h.received = append(h.received, m)
	if planned != nil {
		panic(http.ErrAbortHandler) // taken, and the answer is lost
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Webhook) verify(header http.Header, body []byte) (WebhookMessage, error) {
	m := WebhookMessage{ID: header.Get("webhook-id"), Body: body, Header: header.Clone()}
	stamp := header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if m.ID == "" || err != nil {
		return m, errors.New("webhook-id or webhook-timestamp is missing")
	}
	m.Timestamp = time.Unix(seconds, 0)
	if age := h.now().Sub(m.Timestamp); age > maxWebhookAge || age < -maxWebhookAge {
		return m, fmt.Errorf("timestamp is %s off", age)
	}
	for given := range strings.FieldsSeq(header.Get("webhook-signature")) {
		version, encoded, _ := strings.Cut(given, ",")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if version != "v1" || err != nil {
			continue
		}
		for _, key := range h.keys {
			mac := hmac.New(sha256.New, key)
			_, _ = mac.Write([]byte(m.ID + "." + stamp + "."))
			_, _ = mac.Write(body)
			if hmac.Equal(signature, mac.Sum(nil)) {
				var envelope struct {
					Type string          `json:"type"`
					Data json.RawMessage `json:"data"`
				}
				if err := json.Unmarshal(body, &envelope); err != nil || envelope.Type == "" || len(envelope.Data) == 0 {
					return m, errors.New("the body is no {type, timestamp, data}")
				}
				m.Type = envelope.Type
				return m, nil
			}
		}
	}
	return m, errors.New("no signature matches")
}
