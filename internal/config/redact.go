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
			c.addf([]string{"redact", m.Setting, strconv.Itoa(m.Index)}, "redact", "", "%s", m.Words)
		}
	}
}
