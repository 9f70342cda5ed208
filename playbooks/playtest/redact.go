package playtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

// Replacement is a word of an alert that another stands for.
type Replacement struct {
	Kind string // host, user, domain, address, mac, mail, serial, secret
	Old  string
	New  string
}

// NoFieldError names a field to keep that the alert does not have.
type NoFieldError struct{ Field string }

func (e *NoFieldError) Error() string { return fmt.Sprintf("the alert has no field %q", e.Field) }

// Redact replaces what tells about people and machines in an alert: host and user
// names, domains, addresses, mail addresses, serials, and the secrets that command
// lines are known to carry. The same word becomes the same word everywhere, in command
// lines too, and an address stays private or public. What
// only concerns this server is left out: comment, console address, result. Fields to
// keep are named as event.cmdline, host.name; what stands in them stays everywhere.
func Redact(alert *soar.Alert, keep []string) (soar.Alert, []Replacement, error) {
	plain, err := soar.Plain(alert)
	if err != nil {
		return soar.Alert{}, nil, err
	}
	r := &redactor{words: map[string]int{}, counts: map[string]int{}, keep: map[string]bool{}}
	fields := map[string]string{}
	texts(plain, "", fields)
	for _, field := range keep {
		value, ok := fields[field]
		if !ok {
			return soar.Alert{}, nil, &NoFieldError{field}
		}
		r.keep[field] = true
		r.kept = append(r.kept, strings.ToLower(value))
	}
	r.collect(alert, fields)
	redacted, _ := r.value(plain, "").(map[string]any)
	host, _ := redacted["host"].(map[string]any)
	for field, object := range map[string]map[string]any{"comment": redacted, "url": redacted, "result_id": redacted, "host.id": host} {
		if !r.keep[field] {
			delete(object, strings.TrimPrefix(field, "host."))
		}
	}
	data, err := json.Marshal(redacted)
	if err != nil {
		return soar.Alert{}, nil, err
	}
	var out soar.Alert
	err = json.Unmarshal(data, &out)
	return out, r.found, err
}

// texts lists the texts of a plain value by their path.
func texts(v any, path string, into map[string]string) {
	switch v := v.(type) {
	case string:
		into[path] = v
	case map[string]any:
		for name, item := range v {
			texts(item, strings.TrimPrefix(path+"."+name, "."), into)
		}
	case []any:
		for i, item := range v {
			texts(item, fmt.Sprintf("%s[%d]", path, i), into)
		}
	}
}

type redactor struct {
	found  []Replacement
	words  map[string]int // index into found, by the word in small letters
	counts map[string]int // by kind
	keep   map[string]bool
	kept   []string // what the kept fields hold, in small letters
}

// add lets another word stand for this one, unless it does already or has to stay.
func (r *redactor) add(kind, word string, another func(n int) string) string {
	key := strings.ToLower(word)
	if i, ok := r.words[key]; ok {
		return r.found[i].New
	}
	if slices.ContainsFunc(r.kept, func(text string) bool { return strings.Contains(text, key) }) {
		return word
	}
	r.counts[kind]++
	r.words[key] = len(r.found)
	r.found = append(r.found, Replacement{kind, word, another(r.counts[kind])})
	return r.found[len(r.found)-1].New
}

func numbered(format string) func(n int) string {
	return func(n int) string { return fmt.Sprintf(format, n) }
}

var (
	// Columns of events, as osquery and the agents name them.
	userColumn   = regexp.MustCompile(`(?i)^event\.(.*_)?(user|username|user_name|owner|owner_uid|uid|account|account_name|logon_user|login|subject_?user_?name|target_?user_?name)$`)
	domainColumn = regexp.MustCompile(`(?i)^event\.(.*_)?(user_domain|logon_domain|domain_name|subject_?domain_?name|target_?domain_?name)$`)
	hostColumn   = regexp.MustCompile(`(?i)^event\.(.*_)?(computer|computer_name|host_?name|host_identifier|workstation|workstation_name)$`)
	serialColumn = regexp.MustCompile(`(?i)^event\.(.*_)?(serial|serial_number|hardware_serial|hardware_uuid|machine_id|device_id|instance_id|asset_tag)$`)
	homeFolder   = regexp.MustCompile(`(?i)(?:\\users\\+|\\documents and settings\\+|/home/|/users/)([^\\/:*?"<>|\s]+(?: [^\\/:*?"<>|\s]+)?)[\\/]`)
	homeItself   = regexp.MustCompile(`(?i)(?:\\users\\+|\\documents and settings\\+|/home/|/users/)([^\\/:*?"'<>|\s]+)(?:$|["'])`)
	account      = regexp.MustCompile(`^([^\\@\s]+)\\([^\\@]+)$`) // DOMAIN\user
	// Command lines: \\host\share, /user:DOMAIN\name, net user name.
	share     = regexp.MustCompile(`(?:^|[\s"'=,;(])\\\\+([A-Za-z0-9][A-Za-z0-9._-]*)\\`)
	userOf    = regexp.MustCompile(`(?i)(?:^|\s)(?:[-/]{1,2}(?:user|username|ru)[:=\s]\s*|net1?(?:\.exe)?"?\s+user\s+)["']?([^\s"'/-][^\s"']*)`)
	secretsOf = []*regexp.Regexp{
		// --password x, /rp x, password=x, "api_key": "x"
		regexp.MustCompile(`(?i)[\w-]*(?:password|passwd|passphrase|secret|token|api_?key|access_?key)["']?\s*[:=]\s*["']?([^\s"',;&<>]+)`),
		regexp.MustCompile(`(?i)(?:^|\s)[-/]{1,2}(?:password|passwd|passphrase|pass|pw|pwd|rp|secret|token|api-?key)[\s:=]\s*["']?([^\s"'/-][^\s"']*)`),
		regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})`),
		regexp.MustCompile(`(?i)\bnet1?(?:\.exe)?"?\s+user\s+["']?[^\s"'/]+["']?\s+["']?([^\s"'/*][^\s"']*)`),
		regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@"']*:([^\s/@"']+)@`), // https://name:x@host
		regexp.MustCompile(`(?i)\s-u\s+\S+\s+-p\s*["']?([^\s"']+)`),               // psexec -u name -p x
		regexp.MustCompile(`\b(eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|AKIA[0-9A-Z]{16}|gh[pousr]_\w{20,}|xox[abprs]-[\w-]{10,})`),
	}

	login       = regexp.MustCompile(`://[^\s/@"']*:[^\s/@"']+@`)
	mailAddress = regexp.MustCompile(`(?i)\b[a-z0-9._%+-]+@[a-z0-9.-]+\.[a-z]{2,}\b`)
	macAddress  = regexp.MustCompile(`(?i)\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\b`)
	userSID     = regexp.MustCompile(`\bS-1-5-21(?:-\d+){3,}\b`) // of people and machines; the others are Windows' own
	address     = regexp.MustCompile(`(?i)[0-9a-f]*:[0-9a-f:]*:[0-9a-f:.]*|\b\d{1,3}(?:\.\d{1,3}){3}\b`)
	number      = regexp.MustCompile(`^[0-9]+$`)
)

// minSecret is below the length of any password that is worth the name; shorter words
// would be replaced all over the alert.
const minSecret = 3

// noMail stands for the @ of https://name:secret@host while mail addresses are found.
const noMail = "\x00"

// everybody are names that tell of nobody.
var everybody = []string{
	"system", "root", "administrator", "admin", "guest", "public", "default", "default user", "all users", "shared", "nobody", "daemon",
	"local service", "network service", "localservice", "networkservice", "localsystem", "nt authority", "nt service", "builtin", "window manager",
	"font driver host", "localhost", "n/a", "none", "null", "unknown", "-",
}

// collect finds the words by the fields in which they stand.
func (r *redactor) collect(alert *soar.Alert, fields map[string]string) {
	paths := sortedKeys(fields)
	r.host(alert.Host.Name)
	if id := alert.Host.Identifier; id != "" && !strings.EqualFold(id, alert.Host.Name) {
		r.add("serial", id, numbered("host-identifier-%d"))
	}
	for _, path := range paths {
		value := strings.TrimSpace(fields[path])
		switch {
		case value == "" || r.keep[path]:
		case hostColumn.MatchString(path):
			r.host(value)
		case domainColumn.MatchString(path):
			r.domain(value)
		case serialColumn.MatchString(path):
			r.add("serial", value, numbered("SERIAL-%d"))
		case userColumn.MatchString(path):
			r.account(value)
		}
		if !r.keep[path] {
			r.inside(value)
		}
	}
}

// inside finds the words that tell what they are by what stands around them.
func (r *redactor) inside(text string) {
	for _, form := range secretsOf {
		for _, m := range form.FindAllStringSubmatch(text, -1) {
			if len(m[1]) >= minSecret {
				r.add("secret", m[1], numbered("SECRET-%d"))
			}
		}
	}
	for _, form := range []*regexp.Regexp{homeFolder, homeItself} {
		for _, m := range form.FindAllStringSubmatch(text, -1) {
			r.user(m[1])
		}
	}
	for _, m := range userOf.FindAllStringSubmatch(text, -1) {
		r.account(m[1])
	}
	for _, m := range share.FindAllStringSubmatch(text, -1) {
		r.host(m[1])
	}
}

func (r *redactor) host(name string) {
	if name == "" || known(name) {
		return
	}
	short, domain, dotted := strings.Cut(name, ".")
	if _, err := netip.ParseAddr(name); err == nil {
		return // an address is one
	}
	r.add("host", short, numbered("HOST-%d"))
	if dotted {
		r.add("domain", domain, numbered("domain-%d.example"))
	}
}

func (r *redactor) domain(name string) {
	if name != "" && !known(name) {
		r.add("domain", name, numbered("DOMAIN-%d"))
	}
}

func (r *redactor) account(name string) {
	if m := account.FindStringSubmatch(name); m != nil {
		r.domain(m[1])
		name = m[2]
	}
	if mailAddress.MatchString(name) || userSID.MatchString(name) {
		return // told by its form
	}
	r.user(name)
}

func (r *redactor) user(name string) {
	if name = strings.TrimSpace(name); name != "" && !known(name) && !number.MatchString(name) {
		r.add("user", name, numbered("user-%d"))
	}
}

func known(name string) bool { return slices.Contains(everybody, strings.ToLower(name)) }

// value replaces in all texts of a plain value.
func (r *redactor) value(v any, path string) any {
	switch v := v.(type) {
	case string:
		if r.keep[path] {
			return v
		}
		return r.text(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, name := range sortedKeys(v) { // the same numbers every time
			out[name] = r.value(v[name], strings.TrimPrefix(path+"."+name, "."))
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = r.value(item, fmt.Sprintf("%s[%d]", path, i))
		}
		return out
	}
	return v
}

func (r *redactor) text(text string) string {
	text = login.ReplaceAllStringFunc(text, func(m string) string { return strings.TrimSuffix(m, "@") + noMail })
	text = mailAddress.ReplaceAllStringFunc(text, func(m string) string { return r.add("mail", m, numbered("user-%d@mail.example")) })
	text = userSID.ReplaceAllStringFunc(text, func(m string) string { return r.add("serial", m, numbered("S-1-5-21-0-0-0-%d")) })
	// RFC 7042, section 2.1.2: addresses for documentation.
	text = macAddress.ReplaceAllStringFunc(text, func(m string) string {
		return r.add("mac", m, func(n int) string { return fmt.Sprintf("00:00:5e:00:53:%02x", n%256) })
	})
	text = address.ReplaceAllStringFunc(text, func(m string) string {
		addr, err := netip.ParseAddr(m)
		if err != nil || addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() {
			return m
		}
		return r.add("address", m, func(n int) string { return anotherAddress(addr, n) })
	})
	text = strings.ReplaceAll(text, noMail, "@")
	words := slices.Clone(r.found)
	slices.SortStableFunc(words, func(a, b Replacement) int { return cmp.Compare(len(b.Old), len(a.Old)) })
	for _, w := range words {
		switch w.Kind {
		case "host", "user", "domain", "serial", "secret":
			text = replaceWord(text, w.Old, w.New)
		}
	}
	return text
}

// anotherAddress is an address of the same kind: RFC 5737 and RFC 3849 have those
// for documentation.
func anotherAddress(addr netip.Addr, n int) string {
	low, high := byte(n%256), byte(n/256)
	switch {
	case addr.Is4() && addr.IsPrivate():
		return netip.AddrFrom4([4]byte{10, 0, high, low}).String()
	case addr.Is4() && addr.IsLinkLocalUnicast():
		return netip.AddrFrom4([4]byte{169, 254, high, low}).String()
	case addr.Is4() && n < 256:
		return netip.AddrFrom4([4]byte{203, 0, 113, low}).String()
	case addr.Is4():
		return netip.AddrFrom4([4]byte{198, 18, high, low}).String() // RFC 2544: for tests
	case addr.IsPrivate():
		return fmt.Sprintf("fd00::%x", n)
	case addr.IsLinkLocalUnicast():
		return fmt.Sprintf("fe80::%x", n)
	}
	return fmt.Sprintf("2001:db8::%x", n)
}

// replaceWord replaces a word where it stands by itself, whatever its case.
func replaceWord(text, old, word string) string {
	lower, key := strings.ToLower(text), strings.ToLower(old)
	if len(lower) != len(text) || key == "" { // a letter whose small form is longer
		return strings.ReplaceAll(text, old, word)
	}
	var b strings.Builder
	for {
		i := strings.Index(lower, key)
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		end := i + len(key)
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		if b.Len() > 0 && i == 0 {
			before, _ = utf8.DecodeLastRuneInString(b.String())
		}
		after, _ := utf8.DecodeRuneInString(text[end:])
		if wordRune(before) || wordRune(after) {
			b.WriteString(text[:end])
		} else {
			b.WriteString(text[:i] + word)
		}
		text, lower = text[end:], lower[end:]
	}
}

func wordRune(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
