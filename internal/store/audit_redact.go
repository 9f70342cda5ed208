package store

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// This is the one place that keeps secrets out of the audit record. A soar.Secret
// never comes this far: it prints as [redacted] before. What is left are texts that
// somebody wrote where a secret does not belong.

// redactRules is raised with every change of the rules below. A record of which
// something was taken out says by which rules, because only the same rules make the
// same text of the journal again.
const redactRules = 1

const redacted = "[redacted]"

// secretEndings are how names of secrets end, in small letters and without marks
// between the words; an s may follow.
var secretEndings = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "privatekey", "secretkey", "accesskey", "authkey", "nodekey",
	"credential", "authorization", "cookie",
}

// secretHints are what a JSON text has in it, in small letters, when one of its names
// may be that of a secret.
var secretHints = [][]byte{
	[]byte("pass"), []byte("pwd"), []byte("secret"), []byte("token"), []byte("key"), []byte("credential"), []byte("authorization"), []byte("cookie"),
	[]byte(`\u`), // a name may be spelled in escapes
}

// secretForms are secrets that give themselves away, whatever they are called.
var secretForms = regexp.MustCompile(strings.Join([]string{
	`-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?`,
	`\bxox[abeprs]-[A-Za-z0-9-]{10,}`,                                    // Slack
	`\bgh[pousr]_[A-Za-z0-9]{30,}`,                                       // GitHub
	`\bglpat-[A-Za-z0-9_-]{20,}`,                                         // GitLab
	`\bAKIA[0-9A-Z]{16}\b`,                                               // AWS
	`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`, // RFC 7519
	`[a-z][a-z0-9+.-]*://[^\s/:@"\\]+:[^\s/@"\\]+@`,                      // RFC 3986, section 3.2.1
	`https://hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]+`,
	`(?i)\b(?:bearer|basic|splunk)\s+[a-z0-9+/=_.~-]{16,}`, // RFC 9110, section 11.4
}, "|"))

var formHints = [][]byte{
	[]byte("-----begin"), []byte("xox"), []byte("ghp_"), []byte("gho_"), []byte("ghu_"), []byte("ghs_"), []byte("ghr_"), []byte("glpat-"), []byte("akia"), []byte("eyj"), []byte("://"), []byte("bearer"), []byte("basic"),
	[]byte("splunk"),
}

// redact takes secrets out of a JSON text, and says whether there were any. Without,
// the text stays as it is.
func redact(text []byte) (_ []byte, found bool) {
	small := bytes.ToLower(text)
	if !containsAny(small, secretHints) && !containsAny(small, formHints) {
		return text, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return []byte(`"` + redacted + `"`), true // not JSON: nobody can tell what is in it
	}
	value, found = redactValue(value, false)
	if !found {
		return text, false
	}
	return plainJSON(value), true
}

func containsAny(text []byte, hints [][]byte) bool {
	for _, hint := range hints {
		if bytes.Contains(text, hint) {
			return true
		}
	}
	return false
}

// redactValue takes secrets out of a value. Below the name of a secret every text and
// every number is one; a truth is none, as in reset_password.
func redactValue(value any, secret bool) (_ any, found bool) {
	switch v := value.(type) {
	case map[string]any:
		if secret && isReference(v) {
			return v, false
		}
		for name, item := range v {
			clean, hit := redactValue(item, secret || secretName(name))
			v[name], found = clean, found || hit
		}
		return v, found
	case []any:
		for i, item := range v {
			clean, hit := redactValue(item, secret)
			v[i], found = clean, found || hit
		}
		return v, found
	case string:
		if secret && v != "" && v != redacted {
			return redacted, true
		}
		if !containsAny(bytes.ToLower([]byte(v)), formHints) {
			return v, false
		}
		clean := secretForms.ReplaceAllString(v, redacted)
		return clean, clean != v
	case json.Number:
		if secret {
			return redacted, true
		}
	}
	return value, false
}

// isReference reports whether a value says where a secret is instead of what it is.
func isReference(v map[string]any) bool {
	for name, item := range v {
		_, text := item.(string)
		return len(v) == 1 && text && (name == "env" || name == "file" || name == "credential")
	}
	return false
}

var plainName = strings.NewReplacer("_", "", "-", "", " ", "", ".", "")

func secretName(name string) bool {
	name = strings.TrimSuffix(plainName.Replace(strings.ToLower(name)), "s")
	for _, ending := range secretEndings {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

// plainJSON is a value as JSON in its shortest form, with names in order.
func plainJSON(value any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // texts, numbers, truths, lists and objects
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
