package evidence

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// CheckRecipient says what is wrong with a public key of age, if anything.
func CheckRecipient(text string) error {
	_, err := parseRecipients([]string{text})
	return err
}

func parseRecipients(texts []string) (recipients []age.Recipient, err error) {
	for _, text := range texts {
		if strings.Contains(strings.ToUpper(text), "AGE-SECRET-KEY-") { // and not shown, whatever stands around it
			return nil, errors.New("recipient: this is a secret key; give the public one (age1...) that age-keygen -y shows")
		}
		r, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, fmt.Errorf("recipient %q: expected a public key of age (age1...), as age-keygen shows it", text)
		}
		recipients = append(recipients, r)
	}
	return recipients, nil
}

// Identities are secret keys that decrypt archives.
type Identities struct{ list []age.Identity }

// ReadIdentities reads a file of age-keygen. Errors show nothing of it.
func ReadIdentities(r io.Reader) (*Identities, error) {
	list, err := age.ParseIdentities(io.LimitReader(r, maxJSON))
	if err != nil {
		return nil, errors.New("no secret keys of age (AGE-SECRET-KEY-1...), one a line, as age-keygen writes them")
	}
	return &Identities{list}, nil
}
