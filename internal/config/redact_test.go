package config

import (
	"strings"
	"testing"
)

func TestRedactMistakes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{fields: [alert.event.cmdline], patterns: ['K-\d+'], builtin: [passwords, tokens, cards]}`, ""},
		{`{fields: [alert.comment, alert.evnt]}`, `c.yaml:2:34: "alert.evnt": alert has no evnt; there are `},
		{`{fields: [alert.id]}`, `c.yaml:2:19: "alert.id": alert.id cannot be taken out: others find things by it`},
		{`{patterns: ['a*']}`, `c.yaml:2:21: "a*" matches the empty text`},
		{`{pseudonyms: [alert.host.name], key: {file: pseudonyms.key}}`, ""}, // which is read when it is used
		{`{pseudonyms: [alert.host.name, alert.id], key: {file: pseudonyms.key}}`, `c.yaml:2:40: "alert.id": alert.id cannot be taken out`},
		{`{key: {file: pseudonyms.key}}`, `c.yaml:2:15: a key is of use with pseudonyms only`},
		{`{builtin: [password]}`, `c.yaml:2:20: unknown value "password"`},
	} {
		if _, got := parse(t, least+"redact: "+tt.in); !strings.HasPrefix(got, tt.want) || got != "" && tt.want == "" {
			t.Errorf("redact: %s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}
