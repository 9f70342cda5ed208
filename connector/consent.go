package connector

import "fmt"

// Consent is the word that a call asks for whose effect nobody can take back. It
// is an argument of its own, so that no such call is made by a slip, and it names
// the effect, so that it is read in review. Another word is ErrInvalid, and nothing
// is sent.
type Consent string

// The words.
const (
	DeleteForGood     Consent = "delete for good"
	ReplaceEverything Consent = "replace everything"
	PurgeOldData      Consent = "purge old data"
)

func (c Consent) must(want Consent, what string) error {
	if c == want {
		return nil
	}
	return fmt.Errorf("%s: %w: it cannot be undone and needs the consent %q", what, ErrInvalid, want)
}
