package redact

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// rule is what a pattern takes out.
type rule struct {
	re *regexp.Regexp
	// hints are in every text that matches, one of them, in small letters; nil: anything may.
	hints []string
	// really has the last word on a match; nil agrees.
	really func(match string) bool
}

func newRule(text string) (rule, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return rule{}, fmt.Errorf("%q: %w", text, err)
	}
	if re.MatchString("") {
		return rule{}, fmt.Errorf("%q matches the empty text, and so would be found everywhere", text)
	}
	return rule{re: re}, nil
}

const (
	quotedOrWord = `("[^"]*"?|'[^']*'?|[^\s"',;&|]+)`
	secretWords  = `pass(?:word|wd|phrase|code)?|pwd|passwd|secret|api[_-]?key|access[_-]?key|private[_-]?key|(?:auth|access|refresh|bearer)?[_-]?token|client[_-]?secret`
)

func mustRule(hints []string, text string) rule {
	return rule{re: regexp.MustCompile(text), hints: hints}
}

var builtin = map[string][]rule{
	"passwords": {
		// password=x, "apiKey": "x", DB_PASSWORD: x
		mustRule([]string{"pass", "pwd", "secret", "key", "token"}, `(?i)(?:\b|_)(?:`+secretWords+`)["']?\s*[:=]\s*`+quotedOrWord),
		// --password x, -pw x, /pass:x
		mustRule([]string{"pass", "pwd", "pw", "secret", "key", "token"}, `(?i)(?:^|[\s"'])(?:--?|/)[\w-]*?(?:`+secretWords+`|pw)[\s:=]+`+quotedOrWord),
		mustRule([]string{"-p"}, `(?i)\b(?:mysql|mysqldump|mysqladmin|mysqlimport|mariadb)(?:\.exe)?\b[^|;&\n]*?\s-p([^\s"']+)`),
		mustRule([]string{"sshpass"}, `\bsshpass\s+(?:-\w\s+)*-p\s*`+quotedOrWord),
		mustRule([]string{"net"}, `(?i)\bnet1?(?:\.exe)?["']?\s+user\s+(?:"[^"]*"|\S+)\s+([^\s/]\S*)`),
		mustRule([]string{"/user:"}, `(?i)\bnet1?(?:\.exe)?["']?\s+use\s[^|&\n]*?/user:(?:"[^"]*"|\S+)\s+([^\s/]\S*)`),
		mustRule([]string{"/user:"}, `(?i)\bnet1?(?:\.exe)?["']?\s+use\s+(?:[a-z*]:?\s+)?\\\\\S+\s+([^\s/]\S*)\s+/user:`),
		mustRule([]string{"convertto-securestring"}, `(?i)\bConvertTo-SecureString\s+(?:-String\s+)?("[^"]+"|'[^']+'|[^\s"'-]\S*)`),
		mustRule([]string{"curl", "wget"}, `(?i)\b(?:curl|wget)(?:\.exe)?\b[^|;\n]*?\s(?:-u|--user|--proxy-user)[\s=]*["']?[^\s:"']+:([^\s"']+)`),
		mustRule([]string{"://"}, `(?i)[a-z][a-z0-9+.-]*://[^\s/:@"\\]*:([^\s/@"\\]+)@`), // RFC 3986, section 3.2.1
	},
	"tokens": {
		mustRule([]string{"-----begin"}, `-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?`),
		mustRule([]string{"xox"}, `\bxox[abeprs]-[A-Za-z0-9-]{10,}`),                                                                // Slack
		mustRule([]string{"xapp-"}, `\bxapp-[A-Za-z0-9-]{10,}`),                                                                     // Slack, for Socket Mode
		mustRule([]string{"hooks.slack.com"}, `https://hooks\.slack\.com/services/(T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]+)`),            // its address is the secret
		mustRule([]string{"gh", "github_pat_"}, `\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{40,})`),                    // GitHub
		mustRule([]string{"glpat-"}, `\bglpat-[A-Za-z0-9_-]{20,}`),                                                                  // GitLab
		mustRule([]string{"akia", "asia"}, `\bA(?:KI|SI)A[0-9A-Z]{16}\b`),                                                           // AWS
		mustRule([]string{"eyj"}, `\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*`),                                 // RFC 7519
		mustRule([]string{"bearer", "basic", "splunk", "apikey"}, `(?i)\b(?:bearer|basic|splunk|apikey)\s+([a-z0-9+/=_.~:-]{16,})`), // RFC 9110, section 11.4
	},
	"cards": {
		// ISO/IEC 7812: 13 to 19 digits, the last of which checks the others.
		{re: regexp.MustCompile(`\b[2-6](?:[ -]?[0-9]){12,18}\b`), really: luhn},
	},
}

// luhn checks the digits of a number (ISO/IEC 7812-1, annex B).
func luhn(text string) bool {
	sum, double, digits := 0, false, 0
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] < '0' || text[i] > '9' {
			continue
		}
		d := int(text[i] - '0')
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum, double, digits = sum+d, !double, digits+1
	}
	return digits >= 13 && sum%10 == 0
}

// piece is a text that is looked for in others, and what it is replaced with.
type piece struct{ text, with string }

// span is a part of a text, in bytes, and what it is replaced with.
type span struct {
	from, to int
	with     string
}

// text takes out of a text what the rules match, and what is known. What is left is
// looked at again until nothing is found: taking something out may bring two pieces
// together. A mark that was there before is never taken apart.
func (r *Redactor) text(text string, known []piece) string {
	for range maxPasses {
		marks := find(text, []piece{{Hidden, Hidden}}, nil)
		found := find(text, known, slices.Clone(marks))
		lower := strings.ToLower(text)
		for i := range r.rules {
			found = r.rules[i].find(text, lower, found)
		}
		found = merge(found)
		if len(found) > maxHits {
			return Hidden
		}
		if slices.Equal(found, marks) {
			return text
		}
		text = replace(text, found)
	}
	return Hidden
}

func find(text string, pieces []piece, found []span) []span {
	for _, piece := range pieces {
		for at := 0; len(found) <= maxHits; {
			i := strings.Index(text[at:], piece.text)
			if i < 0 {
				break
			}
			found = append(found, span{at + i, at + i + len(piece.text), piece.with})
			at += i + len(piece.text)
		}
	}
	return found
}

func (r *rule) find(text, lower string, found []span) []span {
	if r.hints != nil && !slices.ContainsFunc(r.hints, func(hint string) bool { return strings.Contains(lower, hint) }) {
		return found
	}
	for _, m := range r.re.FindAllStringSubmatchIndex(text, maxHits+1) {
		if r.really != nil && !r.really(text[m[0]:m[1]]) {
			continue
		}
		whole := true
		for i := 2; i < len(m); i += 2 {
			if whole = false; m[i] >= 0 && m[i] < m[i+1] {
				found = append(found, span{m[i], m[i+1], Hidden})
			}
		}
		if whole && m[0] < m[1] {
			found = append(found, span{m[0], m[1], Hidden})
		}
	}
	return found
}

// merge puts spans in order and those that overlap together. One that has the other in it
// says what stands there; of two that only touch each other nothing is left.
func merge(found []span) []span {
	slices.SortFunc(found, func(a, b span) int {
		if a.from != b.from {
			return a.from - b.from
		}
		if a.to != b.to {
			return b.to - a.to
		}
		return strings.Compare(a.with, b.with) // either tells nothing; only let it be the same each time
	})
	var out []span
	for _, s := range found {
		if n := len(out); n > 0 && s.from < out[n-1].to {
			if s.to > out[n-1].to {
				out[n-1].to, out[n-1].with = s.to, Hidden
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

func replace(text string, found []span) string {
	var b strings.Builder
	at := 0
	for _, s := range found {
		b.WriteString(text[at:s.from])
		b.WriteString(s.with)
		at = s.to
	}
	b.WriteString(text[at:])
	return b.String()
}

// secretEndings are how names of secrets end, in small letters and without marks between
// the words; an s may follow.
var secretEndings = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "privatekey", "secretkey", "accesskey", "credential", "authorization", "cookie",
}

var plainName = strings.NewReplacer("_", "", "-", "", " ", "", ".", "")

// secretName reports whether a column or a key is called like a secret.
func secretName(name string) bool {
	name = strings.TrimSuffix(plainName.Replace(strings.ToLower(name)), "s")
	return slices.ContainsFunc(secretEndings, func(ending string) bool { return strings.HasSuffix(name, ending) })
}
