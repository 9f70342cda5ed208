package config

import (
	"errors"
	"strconv"

	"github.com/erbridge/erbridge/internal/redact"
)

// checkRedact reports the mistakes in the section redact at their places.
func (c *checker) checkRedact() {
	_, err := redact.New(c.cfg.Redact)
	if err == nil {
		return
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		if m, ok := errors.AsType[*redact.Mistake](err); ok {
			path := []string{"redact", m.Setting}
			if m.Index >= 0 {
				path = append(path, strconv.Itoa(m.Index))
			}
			c.addf(path, "redact", "", "%s", m.Words)
		}
	}
}
