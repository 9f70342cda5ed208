package connector

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/internal/soar"
)

// revealed is the text of a secret on its way into a request. It prints as
// [redacted], and do takes it out of what the server says in return.
type revealed string

// Format is always [redacted], whatever the verb.
func (revealed) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

const redacted = "[redacted]"

// reveal reads a secret that is to be sent.
func reveal(what string, secret soar.Secret) (revealed, error) {
	text, err := secret.Reveal()
	if err == nil && text == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", what, ErrInvalid, err)
	}
	return revealed(text), nil
}

// secretOf reads a secret; without text there is none.
func secretOf(v value) soar.Secret {
	if text := v.text(); text != "" {
		return soar.SecretValue(text)
	}
	return soar.Secret{}
}

// hideArguments takes the secrets among the arguments of a call out of its error.
func hideArguments(err error, in any) error {
	arguments, _ := in.(map[string]any)
	for _, argument := range arguments {
		if secret, ok := argument.(revealed); ok {
			hide(err, secret)
		}
	}
	return err
}

// hide takes a secret out of an error, if the server has repeated it.
func hide(err error, secret revealed) {
	fault, ok := errors.AsType[*APIError](err)
	if !ok {
		return
	}
	fault.Message = secret.hiddenIn(fault.Message)
	fields := make(map[string]string, len(fault.Fields))
	for name, complaint := range fault.Fields {
		fields[secret.hiddenIn(name)] = secret.hiddenIn(complaint)
	}
	if fault.Fields != nil {
		fault.Fields = fields
	}
}

// hiddenIn is a text of an error without the secret. One so short that it stands in
// other words is left.
func (r revealed) hiddenIn(text string) string {
	if secret := oneLine(string(r)); len(secret) > 3 {
		return strings.ReplaceAll(text, secret, redacted)
	}
	return text
}

// hasSecret reports whether an object has a secret, such as the key of a host's agent.
func hasSecret(object map[string]any) bool {
	for key := range object {
		if catalogue.IsSecret(key) {
			return true
		}
	}
	return false
}

// withoutSecrets is a copy of an object that may be kept and shown.
func withoutSecrets(object map[string]any) map[string]any {
	object = maps.Clone(object)
	for key := range object {
		if catalogue.IsSecret(key) {
			object[key] = redacted
		}
	}
	return object
}
