package connector

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// authenticate checks who calls. Only signed calls need the body.
func (s *sender) authenticate(req *http.Request, body []byte, now time.Time) error {
	switch {
	case s.Secret.IsSet():
		return s.verifySignature(req.Header, body, now)
	case s.Bearer.IsSet():
		want, err := s.Bearer.Reveal()
		if err != nil {
			return err
		}
		got, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		if !ok || !sameText(got, want) {
			return errors.New("wrong or missing bearer token")
		}
		return nil
	}
	if req.TLS == nil || len(req.TLS.VerifiedChains) == 0 {
		return errors.New("no client certificate")
	}
	leaf := req.TLS.VerifiedChains[0][0]
	if leaf.Subject.CommonName != s.ClientName && !slices.Contains(leaf.DNSNames, s.ClientName) {
		return fmt.Errorf("the client certificate is of %q", leaf.Subject.CommonName)
	}
	return nil
}

// verifySignature checks a call as Standard Webhooks 1.0 says: the signature is
// base64 of HMAC-SHA256 over "id.timestamp.body", one of several in the header.
func (s *sender) verifySignature(h http.Header, body []byte, now time.Time) error {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if id == "" || err != nil {
		return errors.New("webhook-id or webhook-timestamp is missing or malformed")
	}
	if off := now.Sub(time.Unix(seconds, 0)).Abs(); off > s.ReplayWindow {
		return fmt.Errorf("webhook-timestamp is off by %s, more than %s", off.Round(time.Second), s.ReplayWindow)
	}
	key, err := signingKey(s.Secret)
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, stamp) // a hash never fails
	_, _ = mac.Write(body)
	want := mac.Sum(nil)
	for _, signature := range strings.Fields(h.Get("webhook-signature")) {
		encoded, ok := strings.CutPrefix(signature, "v1,")
		if !ok {
			continue
		}
		if got, err := base64.StdEncoding.DecodeString(encoded); err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return errors.New("no signature fits")
}

// signingKey decodes a whsec_ secret.
func signingKey(secret soar.Secret) ([]byte, error) {
	text, err := secret.Reveal()
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
	if err != nil || len(key) < 16 {
		return nil, errors.New("secret: expected whsec_ and base64 of at least 16 bytes")
	}
	return key, nil
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// seenIDs remembers the ids of signed calls that were taken, so that a recorded
// call cannot be played again while its timestamp is still good.
type seenIDs struct {
	keep time.Duration

	mu  sync.Mutex
	ids map[string]time.Time
}

// maxSeenIDs bounds the memory. When it is full of fresh ids they are forgotten;
// the store drops a repeated alert in any case.
const maxSeenIDs = 100_000

func (s *seenIDs) has(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.ids[id]
	return ok && now.Sub(at) < s.keep
}

func (s *seenIDs) add(id string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[string]time.Time{}
	}
	if len(s.ids) >= maxSeenIDs {
		for known, at := range s.ids {
			if now.Sub(at) >= s.keep {
				delete(s.ids, known)
			}
		}
	}
	if len(s.ids) >= maxSeenIDs {
		clear(s.ids)
	}
	s.ids[id] = now
}
