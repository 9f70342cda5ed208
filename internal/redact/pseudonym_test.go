package redact

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

const (
	oneKey     = "0123456789abcdef0123456789abcdef"
	anotherKey = "fedcba9876543210fedcba9876543210"
)

func withKey(key string, fields ...string) Settings {
	return Settings{Pseudonyms: fields, Key: soar.SecretValue(key)}
}

var pseudonymForm = regexp.MustCompile(`^[a-z0-9_]{1,20}-[a-z2-7]{14}$`)

// onHost is an alert about a host, in which the host's name stands in a column and in texts too.
func onHost(name string) soar.Event {
	return soar.Event{
		ID: "e", Type: soar.EventAlertReceived, Text: "look at " + name + "\\c$", Alert: &soar.Alert{
			Server: "er", ID: "1", Host: soar.Host{Name: name, Identifier: "h-1"}, Comment: "again " + name,
			Event: map[string]string{"cmdline": "copy x \\\\" + name + "\\share", "computer": name, "pid": "7"},
			Intel: json.RawMessage(`{"host":"` + name + `","score":77}`),
		},
	}
}

// One value has one pseudonym: in all fields and texts of an event, in rows as in alerts, and
// after a restart; another value or another key has another one.
func TestPseudonymsTellTheSameFromTheOther(t *testing.T) {
	fields := []string{"alert.host.name", "alert.event.computer", "alert.intel.score", "row.host.name"}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(oneKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := mustNew(t, Settings{Pseudonyms: fields, Key: soar.SecretFromFile(file)})
	before := onHost("WIN-FINANCE-01")
	got := r.Event(before)
	if !reflect.DeepEqual(before, onHost("WIN-FINANCE-01")) {
		t.Error("the event that was given has changed")
	}
	host := got.Alert.Host.Name
	digits := strings.TrimPrefix(host, "host-")
	if !pseudonymForm.MatchString(host) || digits == host || got.Alert.Event["computer"] != "computer-"+digits {
		t.Errorf("host %q, column %q", host, got.Alert.Event["computer"])
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "FINANCE") || strings.Count(string(text), digits) != 6 || strings.Contains(string(text), "77") {
		t.Errorf("got %s", text)
	}
	if got.Alert.Host.Identifier != "h-1" || got.Alert.Event["pid"] != "7" {
		t.Errorf("other fields have changed: %s", text)
	}
	if again := r.Event(got); !reflect.DeepEqual(again, got) {
		t.Errorf("done twice\n got %+v\nwant %+v", again.Alert, got.Alert)
	}
	row := soar.Event{Row: &soar.Row{Host: soar.Host{Name: "WIN-FINANCE-01"}}}
	if name := mustNew(t, withKey(oneKey, fields...)).Event(row).Row.Host.Name; name != host {
		t.Errorf("a row after a restart has %q, want %q", name, host)
	}
	for what, other := range map[string]string{
		"another host": r.Event(onHost("WIN-FINANCE-02")).Alert.Host.Name,
		"another key":  mustNew(t, withKey(anotherKey, fields...)).Event(before).Alert.Host.Name,
	} {
		if other == host || !pseudonymForm.MatchString(other) {
			t.Errorf("%s has the pseudonym %q", what, other)
		}
	}
	for range 20 { // whatever the order of the columns
		if one := r.Event(before); !reflect.DeepEqual(one, got) {
			t.Fatalf("one time %+v, another %+v", got.Alert, one.Alert)
		}
	}
}

// A host that calls itself like the pseudonym of another gets one of its own.
func TestPseudonymsCannotBeChosen(t *testing.T) {
	r := mustNew(t, withKey(oneKey, "alert.host.name"))
	for _, name := range []string{"host-aaaaaaaaaaaaaa", "host-" + strings.Repeat("a", 13), "-aaaaaaaaaaaaaa", mustNew(t, withKey(anotherKey, "alert.host.name")).Event(onHost("WIN-1")).Alert.Host.Name} {
		if got := r.Event(onHost(name)).Alert.Host.Name; got == name || !pseudonymForm.MatchString(got) {
			t.Errorf("%q became %q", name, got)
		}
	}
}

// An account that is called as its column is spoils no other text.
func TestPseudonymOfTheNameOfAField(t *testing.T) {
	ev := soar.Event{Text: "the username is new", Alert: &soar.Alert{Event: map[string]string{"username": "username", "cmdline": "net user username"}}}
	got := mustNew(t, withKey(oneKey, "alert.event.username")).Event(ev)
	if columns := got.Alert.Event; got.Text != ev.Text || columns["cmdline"] != ev.Alert.Event["cmdline"] || !pseudonymForm.MatchString(columns["username"]) {
		t.Errorf("text %q, columns %q", got.Text, columns)
	}
}

// What is taken out stays out where a pseudonym stands in it, or beside it.
func TestPseudonymsInWhatIsTakenOut(t *testing.T) {
	s := withKey(oneKey, "alert.host.name", "alert.event.computer")
	s.Fields, s.Patterns = []string{"alert.event.cmdline"}, []string{`again \S+`}
	ev := onHost("WIN-FINANCE-01")
	ev.Text = "ran " + ev.Alert.Event["cmdline"] + " on WIN-FINANCE-01"
	got := mustNew(t, s).Event(ev)
	if got.Alert.Event["cmdline"] != Hidden || got.Alert.Comment != Hidden {
		t.Errorf("cmdline %q, comment %q", got.Alert.Event["cmdline"], got.Alert.Comment)
	}
	if want := "ran " + Hidden + " on computer-" + strings.TrimPrefix(got.Alert.Host.Name, "host-"); got.Text != want {
		t.Errorf("text %q, want %q", got.Text, want)
	}
}

func TestPseudonymKeys(t *testing.T) {
	for name, tt := range map[string]struct {
		s    Settings
		want string
	}{
		"short":          {withKey("only-31-bytes-are-in-this-key..", "alert.host.name"), "redact: key: the key has 31 bytes"},
		"missing":        {Settings{Pseudonyms: []string{"alert.host.name"}}, "redact: key: the key is missing"},
		"for nothing":    {withKey(oneKey), "redact: key: a key is of use with pseudonyms only"},
		"of an id":       {withKey(oneKey, "alert.host.identifier"), "redact: pseudonyms: \"alert.host.identifier\": alert.host.identifier cannot be taken out"},
		"and taken out":  {Settings{Fields: []string{"alert.host.name"}, Pseudonyms: []string{"alert.host.name"}, Key: soar.SecretValue(oneKey)}, "is in fields too"},
		"of what is not": {withKey(oneKey, "alert.nothing"), "alert has no nothing"},
	} {
		_, err := New(tt.s)
		if _, ok := errors.AsType[*Mistake](err); !ok || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "only-31") {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	_, err := New(Settings{Pseudonyms: []string{"alert.host.name"}, Key: soar.SecretFromFile(filepath.Join(t.TempDir(), "none"))})
	if _, ok := errors.AsType[*Mistake](err); ok || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key that cannot be read: %v, want the error of the file", err)
	}
}

// However a redactor or its settings are printed, the key does not show.
func TestPseudonymKeyNeverShows(t *testing.T) {
	s := withKey(oneKey, "alert.host.name")
	r := mustNew(t, s)
	settings, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %v %+v %#v %s %+v", s, s, s, r, r, r, settings, r.Event(onHost(oneKey)).Alert)
	if strings.Contains(all, oneKey) || strings.Contains(all, "0123456789abcdef") {
		t.Errorf("the key shows in %s", all)
	}
}

// FuzzPseudonyms: whatever a name is, its pseudonym has the form, tells nothing of it and
// stays what it is.
func FuzzPseudonyms(f *testing.F) {
	for _, seed := range []string{"WIN-1", "host-aaaaaaaaaaaaaa", Hidden, "WIN [redacted] 1", "\xff\x00", "password=hunter2", strings.Repeat("x", 3000)} {
		f.Add(seed, "look at "+seed)
	}
	f.Add("0", "\xff00000000C0AA") // a column gets a name that ends in pwds
	s := withKey(oneKey, "alert.host.name", "alert.event.*")
	s.Builtin = []string{"passwords", "tokens", "cards"}
	r, err := New(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		ev := soar.Event{ID: "e", Text: text, Alert: &soar.Alert{Host: soar.Host{Name: name}, Comment: name, Event: map[string]string{"a": text, text: name}}}
		got := r.Event(ev)
		if host := got.Alert.Host.Name; name != "" && name != Hidden && !pseudonymForm.MatchString(host) {
			t.Fatalf("%q became %q", name, host)
		}
		if len(name) >= 40 && strings.Contains(got.Text+got.Alert.Comment, name) {
			t.Fatalf("%q is left in %q, %q", name, got.Text, got.Alert.Comment)
		}
		if again := r.Event(got); !reflect.DeepEqual(again, got) {
			t.Fatalf("event of %q, %q\nonce  %+v\ntwice %+v", name, text, got.Alert, again.Alert)
		}
	})
}
