package format

import (
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// RFC3164 is one message in the older BSD form, without framing. RFC 3164 allows
// 1024 bytes; what is longer is shortened as in RFC5424.
func RFC3164(ev *soar.Event, s Syslog, limit int) (message []byte, short bool) {
	head := s.header3164(ev)
	return fit(limit, func(room, maxText int) []byte {
		rest := 0
		if room > 0 {
			rest = room - len(head)
		}
		return slices.Concat(head, s.payload(ev, rest, maxText))
	})
}

// header3164 is all before the message.
func (s Syslog) header3164(ev *soar.Event) []byte {
	at := s.time(ev)
	if s.Location != nil {
		at = at.In(s.Location)
	}
	tag := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, s.AppName)
	// Without a tag, receivers take "CEF:" for it.
	head := s.priority(ev) + at.Format(time.Stamp) + " " + host3164(s.host(ev)) + " " + first(cut(tag, 32), "erbridge")
	if s.ProcID != "" {
		head += "[" + printASCII(s.ProcID, 32) + "]"
	}
	return []byte(head + ": ")
}

// host3164 is a name without what could end it for a lenient reader: a colon
// makes it a tag.
func host3164(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '-', r == '.':
			return r
		}
		return '_'
	}, strings.TrimSpace(strings.ToValidUTF8(name, "_")))
	if strings.Trim(name, "-._") == "" {
		return "localhost"
	}
	return cut(name, 255)
}
