package sinks

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

// theHiveAlert is the body of POST /api/v1/alert (TheHive 5, "Create alert").
type theHiveAlert struct {
	Type         string              `json:"type"`
	Source       string              `json:"source"`
	SourceRef    string              `json:"sourceRef"`
	Title        string              `json:"title"`
	Description  string              `json:"description"` // Markdown
	Severity     int                 `json:"severity"`    // 1 low to 4 critical
	Date         int64               `json:"date,omitempty"`
	TLP          int                 `json:"tlp"`
	PAP          int                 `json:"pap"`
	Tags         []string            `json:"tags,omitempty"`
	ExternalLink string              `json:"externalLink,omitempty"`
	Observables  []theHiveObservable `json:"observables,omitempty"`
}

type theHiveObservable struct {
	DataType string `json:"dataType"`
	Data     string `json:"data"`
	Message  string `json:"message,omitempty"`
}

var (
	theHiveSeverities = map[soar.Severity]int{
		soar.SeverityInfo: 1, soar.SeverityLow: 1, soar.SeverityMedium: 2, soar.SeverityHigh: 3, soar.SeverityCritical: 4,
	}
	theHiveTLP = map[string]int{"clear": 0, "green": 1, "amber": 2, "amber+strict": 3, "red": 4}
	theHivePAP = map[string]int{"clear": 0, "green": 1, "amber": 2, "red": 3}
)

// theHiveRef is a reference that TheHive takes: a longer one ends in its digest.
func theHiveRef(ref string) string {
	ref = strings.ToValidUTF8(ref, "\uFFFD")
	if utf8.RuneCountInString(ref) <= theHiveRefMax {
		return ref
	}
	sum := sha256.Sum256([]byte(ref))
	return clipRunes(ref, 60) + hex.EncodeToString(sum[:])
}

func (s *theHive) newAlert(ref string, n notice) theHiveAlert {
	return theHiveAlert{
		Type: s.settings.AlertType, Source: s.settings.Source, SourceRef: theHiveRef(ref), Title: n.Title, Severity: 2,
		TLP: theHiveTLP[s.settings.TLP], PAP: theHivePAP[s.settings.PAP], Tags: slices.Clone(s.settings.Tags), ExternalLink: n.Link,
	}
}

// alert is the alert of alert.received.
func (s *theHive) alert(ev *soar.Event) theHiveAlert {
	a, n := ev.Alert, noticeOf(ev)
	h := s.newAlert(a.Ref(), n)
	h.Description = theHiveText(ev, n)
	if severity, ok := theHiveSeverities[a.Severity]; ok {
		h.Severity = severity
	}
	if y := a.CreatedAt.Year(); !a.CreatedAt.IsZero() && y > 1970 && y <= 9999 {
		h.Date = a.CreatedAt.UnixMilli()
	}
	if a.Rule != nil {
		h.Tags = append(h.Tags, attackTags(a.Rule)...)
	}
	slices.Sort(h.Tags)
	h.Tags = slices.Compact(h.Tags)
	h.Observables = observablesOf(a)
	return h
}

// message is an alert for an event that concerns none.
func (s *theHive) message(ev *soar.Event) theHiveAlert {
	n := noticeOf(ev)
	h := s.newAlert(ev.ID, n)
	h.Description = theHiveText(ev, n)
	switch ev.Type {
	case soar.EventTest:
		h.Severity = 1
	case soar.EventTrouble:
		h.Severity = 3
	}
	return h
}

var attackWord = regexp.MustCompile(`^(T\d{4}(\.\d{3})?|[a-z]+(-[a-z]+)*)$`)

// attackTags are the techniques and tactics of a rule, those that look like it.
func attackTags(r *soar.Rule) (tags []string) {
	for _, text := range slices.Concat(r.Techniques, r.Tactics) {
		for word := range strings.SplitSeq(text, ",") {
			if word = strings.TrimSpace(word); len(word) <= 60 && attackWord.MatchString(word) {
				tags = append(tags, word)
			}
		}
	}
	return tags
}

// maxObservable bounds an observable's text, in bytes; maxObservables their number.
const (
	maxObservable  = 2048
	maxObservables = 50
)

var (
	hexDigits  = regexp.MustCompile(`^(?i)([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$`)
	domainName = regexp.MustCompile(`^(?i)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)+\.?$`)
)

// observablesOf are the indicators in an alert, as they are: they are there to be
// searched for. Each stands there once, because TheHive refuses an alert with two
// equal ones.
func observablesOf(a *soar.Alert) (observables []theHiveObservable) {
	seen := map[[2]string]bool{}
	add := func(kind, data, message string) {
		data = strings.TrimSpace(data)
		key := [2]string{kind, strings.ToLower(data)}
		// What cannot be shown is no indicator, and what is not UTF-8 has no JSON.
		if data == "" || len(data) > maxObservable || len(observables) == maxObservables || seen[key] || soar.Visible(data) != data || strings.ContainsAny(data, "\n\t") {
			return
		}
		seen[key] = true
		observables = append(observables, theHiveObservable{kind, data, message})
	}
	for _, column := range []string{"sha256", "sha1", "md5"} {
		if value := strings.TrimSpace(a.Event[column]); hexDigits.MatchString(value) {
			add("hash", strings.ToLower(value), column)
		}
	}
	for _, column := range []string{"remote_address", "remote_addresss"} {
		addIP(add, a.Event[column], "remote address")
	}
	for value := range strings.FieldsFuncSeq(a.Event["resolved_ip"], func(r rune) bool { return strings.ContainsRune(",; \t", r) }) {
		addIP(add, value, "address of the domain")
	}
	if name := strings.TrimSpace(a.Event["domain_name"]); len(name) <= 253 && domainName.MatchString(name) {
		add("domain", strings.TrimSuffix(name, "."), "domain name")
	}
	if address := strings.TrimSpace(a.Event["url"]); strings.Contains(address, "://") {
		add("url", address, "address")
	}
	for _, column := range []string{"target_path", "image_path", "path", "process_name", "src_path", "parent_path"} {
		path, _, _ := strings.Cut(a.Event[column], " [Orig: ") // what the agent appends on a rename
		add("filename", path[strings.LastIndexAny(path, `\/`)+1:], column)
	}
	add("hostname", hostName(a), "host of the alert")
	return observables
}

// addIP takes addresses that mean something to others.
func addIP(add func(kind, data, message string), text, message string) {
	addr, err := netip.ParseAddr(strings.TrimSpace(text))
	if addr = addr.Unmap().WithZone(""); err == nil && !addr.IsUnspecified() && !addr.IsLoopback() {
		add("ip", addr.String(), message)
	}
}

// theHiveText is a notice as Markdown. All that comes from outside stands in code,
// where nothing is markup.
func theHiveText(ev *soar.Event, n notice) string {
	var b strings.Builder
	if ev.Type != soar.EventAlertReceived { // whose title is a field of its own
		b.WriteString(codeSpan(n.Title) + "\n\n")
	}
	for _, text := range []string{n.Text, n.Code} {
		if text != "" {
			b.WriteString(codeBlock(text) + "\n\n")
		}
	}
	for _, f := range n.Facts {
		b.WriteString("- " + codeSpan(f.Name) + " " + codeSpan(f.Value) + "\n")
	}
	b.WriteString("\n" + theHiveMark(ev))
	return b.String()
}

// theHiveMark is the end of a text, by which it is found again.
func theHiveMark(ev *soar.Event) string { return "event " + codeSpan(shownLine(ev.ID, 200)) }

// codeSpan puts a line into more back-quotes than stand in it anywhere (CommonMark,
// section 6.1).
func codeSpan(line string) string {
	if line == "" {
		return "" // two back-quotes would begin one
	}
	quotes := strings.Repeat("`", longestRun(line, '`')+1)
	if strings.HasPrefix(line, "`") || strings.HasSuffix(line, "`") {
		line = " " + line + " "
	}
	return quotes + line + quotes
}

// codeBlock is codeSpan for lines (CommonMark, section 4.5).
func codeBlock(text string) string {
	fence := strings.Repeat("`", max(3, longestRun(text, '`')+1))
	return fence + "\n" + text + "\n" + fence
}

func longestRun(text string, of rune) (longest int) {
	n := 0
	for _, r := range text {
		if r != of {
			n = 0
			continue
		}
		n++
		longest = max(longest, n)
	}
	return longest
}
