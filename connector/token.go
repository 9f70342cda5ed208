package connector

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// TokenEnd is when the token of the last login ends; false without a login, and for
// a token that does not tell. The server writes the time into the JOSE header of the
// token, not into its payload (observed on release 2.1.2, public source of 4.0).
func (c *Client) TokenEnd() (time.Time, bool) {
	c.session.mu.Lock()
	text := c.session.token.text
	c.session.mu.Unlock()
	return tokenEnd(text)
}

func tokenEnd(token string) (time.Time, bool) {
	head, _, found := strings.Cut(token, ".")
	if !found {
		return time.Time{}, false
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(head, "="))
	if err != nil {
		return time.Time{}, false
	}
	var header struct {
		Expires json.Number `json:"exp"`
	}
	if json.Unmarshal(text, &header) != nil {
		return time.Time{}, false
	}
	seconds, err := header.Expires.Int64()
	if err != nil || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0).UTC(), true
}
