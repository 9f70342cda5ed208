package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// minKeyBytes is what a key has at the least: whoever can try all keys can try all names.
const minKeyBytes = 32

// The parts of a pseudonym such as host-k7fq3m2xdz4brw: what it is of, at most that many
// characters of it; the value; and a check by which one of ours is known again.
const (
	maxKindBytes = 20
	valueDigits  = 10 // of 5 bits
	checkDigits  = 4
)

// pseudonyms are the names that a key gives to values. The key stands in a closure, where
// nothing that prints a Redactor finds it.
type pseudonyms struct {
	digest func(purpose, text string) string
}

// errKey is wrapped where the key itself is no good, and not the way to it.
var errKey = errors.New("the key")

func newPseudonyms(secret soar.Secret) (*pseudonyms, error) {
	if !secret.IsSet() {
		return nil, fmt.Errorf("%w is missing: pseudonyms need one of at least %d bytes, such as openssl rand -hex 32 makes", errKey, minKeyBytes)
	}
	key, err := secret.Reveal()
	if err != nil {
		return nil, fmt.Errorf("redact: key: %w", err)
	}
	if len(key) < minKeyBytes {
		return nil, fmt.Errorf("%w has %d bytes, and names can be guessed with less than %d; openssl rand -hex 32 makes one", errKey, len(key), minKeyBytes)
	}
	return &pseudonyms{digest: func(purpose, text string) string {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(purpose + "\x00" + text))
		return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)))
	}}, nil
}

// of is the pseudonym of a value, the same wherever and whenever it is met. One of ours
// stays as it is.
func (p *pseudonyms) of(kind, value string) string {
	if p.ours(value) {
		return value
	}
	digits := p.digest("value", value)[:valueDigits]
	return kind + "-" + digits + p.digest("check", digits)[:checkDigits]
}

// ours reports whether this key has given a pseudonym. What only looks like one is a value
// like any other, so that nobody gets a name of his choice.
func (p *pseudonyms) ours(text string) bool {
	kind := len(text) - valueDigits - checkDigits - 1
	return kind >= 1 && kind <= maxKindBytes && p.atEnd(text)
}

// atEnd reports whether one of ours ends a text. The nil pseudonyms are in none.
func (p *pseudonyms) atEnd(text string) bool {
	cut := len(text) - valueDigits - checkDigits
	if p == nil || cut < 2 || text[cut-1] != '-' {
		return false
	}
	digits, check := text[cut:cut+valueDigits], text[cut+valueDigits:]
	return hmac.Equal([]byte(p.digest("check", digits)[:checkDigits]), []byte(check))
}

// kindOf is what a path is about, as the beginning of a pseudonym: host for
// alert.host.name, the column's name for a column.
func kindOf(path []string) string {
	kind := path[len(path)-1]
	if kind == "name" && len(path) > 1 {
		kind = path[len(path)-2]
	}
	kind = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, kind)
	if kind == "" {
		return "value"
	}
	return kind[:min(len(kind), maxKindBytes)]
}
