package redact

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

func mustNew(t testing.TB, s Settings) *Redactor {
	t.Helper()
	r, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func story() soar.Event {
	const line = `net.exe use \\srv\share hunter22 /user:corp\adm`
	return soar.Event{
		ID: "run-7-3-step.finished", Type: soar.EventStepFinished, At: time.Unix(1, 0).UTC(), To: "soc", Text: "ran " + line,
		Alert: &soar.Alert{
			Server: "er", ID: "4711", Source: "rule", Severity: soar.SeverityHigh, Status: "open", Comment: "seen " + line,
			Host:  soar.Host{Name: "PC-1", Tags: []string{"ring: token=abcdefgh"}},
			Rule:  &soar.Rule{ID: 1, Name: "Share with a password"},
			Event: map[string]string{"cmdline": line, "pid": "12", "path": `C:\net.exe`},
			Intel: json.RawMessage(`{"score":77,"note":"password=hunter22","list":[{"token":"t0p-secret"}]}`),
		},
		Run:      &soar.RunSummary{ID: 7, Playbook: "contain", State: soar.RunFailed, Error: "no: " + line},
		Outcome:  &soar.Outcome{Step: "s", Action: "host.contain", State: soar.StepFailed, Command: "c-9", Summary: "did " + line},
		Approval: &soar.Approval{ID: "a1", Action: "host.contain", Text: "may I? " + line, With: map[string]any{"why": line, "n": 4.0, "list": []any{line}}, AskedAt: time.Unix(2, 0)},
	}
}

func TestFieldsAreTakenOutEverywhere(t *testing.T) {
	r := mustNew(t, Settings{Fields: []string{"alert.event.cmdline", ".approval.with.n"}})
	before := story()
	got := r.Event(before)
	if !reflect.DeepEqual(before, story()) {
		t.Error("the event that was given has changed")
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hunter22 ") {
		t.Errorf("what stood in the field is still there: %s", text)
	}
	if got.Alert.Event["cmdline"] != Hidden || got.Text != "ran [redacted]" || got.Approval.With["why"] != Hidden || got.Approval.With["n"] != any(Hidden) {
		t.Errorf("got %s", text)
	}
	if got.Alert.Event["pid"] != "12" || got.Alert.Event["path"] != `C:\net.exe` {
		t.Errorf("other columns have changed: %v", got.Alert.Event)
	}
	if got.ID != before.ID || got.To != "soc" || got.Alert.Ref() != "er-4711" || got.Alert.Severity != soar.SeverityHigh || got.Run.Playbook != "contain" ||
		got.Outcome.State != soar.StepFailed || got.Approval.ID != "a1" || !got.At.Equal(before.At) || !got.Approval.AskedAt.Equal(before.Approval.AskedAt) {
		t.Errorf("an id, a state or a time has changed: %s", text)
	}
}

// Who takes out comments does not want to read the one before either.
func TestCommentsOfAChange(t *testing.T) {
	ev := story()
	ev.Change = &soar.AlertChange{From: soar.AlertState{Comment: "old", Status: "open"}, To: soar.AlertState{Comment: "new", Status: "open"}}
	got := mustNew(t, Settings{Fields: []string{"alert.comment"}}).Event(ev).Change
	if got.From.Comment != Hidden || got.To.Comment != Hidden || got.From.Status != "open" {
		t.Errorf("change %+v", got)
	}
}

func TestNilRedactorChangesNothing(t *testing.T) {
	r := mustNew(t, Settings{})
	if r != nil {
		t.Fatal("settings that take out nothing make a redactor")
	}
	if got := r.Event(story()); !reflect.DeepEqual(got, story()) || r.Text("password=x") != "password=x" {
		t.Errorf("got %+v", got)
	}
}

func TestPatterns(t *testing.T) {
	all := Settings{Builtin: []string{"passwords", "tokens", "cards"}, Patterns: []string{`ssn=(\d+)-(\d+)`, `K-[0-9]{6}`, `[x]+`}}
	for _, tt := range []struct{ in, want string }{
		{"nothing here", "nothing here"},
		{"", ""},
		{"app --password hunter2 -v", "app --password [redacted] -v"},
		{"app --password=hunter2", "app --password=[redacted]"},
		{`app /pass:"two words" /x`, "app /pass:[redacted] /[redacted]"},
		{"plink -pw s3cret host", "plink -pw [redacted] host"},
		{"DB_PASSWORD=abc ./run", "DB_PASSWORD=[redacted] ./run"},
		{`{"apiKey": "abc", "b": 1}`, `{"apiKey": [redacted], "b": 1}`},
		{"mysql -u root -phunter2 db", "mysql -u root -p[redacted] db"},
		{"sshpass -p hunter2 ssh h", "sshpass -p [redacted] ssh h"},
		{"net user bob Sommer2024! /add", "net user bob [redacted] /add"},
		{`net use Z: \\s\c /user:corp\adm hunter2`, `net use Z: \\s\c /user:corp\adm [redacted]`},
		{`net use \\s\c hunter2 /user:corp\adm`, `net use \\s\c [redacted] /user:corp\adm`},
		{`ConvertTo-SecureString "a b" -AsPlainText`, `ConvertTo-SecureString [redacted] -AsPlainTe[redacted]t`},
		{"curl -u bob:hunter2 https://h", "curl -u bob:[redacted] https://h"},
		{"git clone https://bob:hunter2@h/r", "git clone https://bob:[redacted]@h/r"},
		{"Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer [redacted]"},
		{"t ghp_abcdefghijklmnopqrstuvwxyz0123456789", "t [redacted]"},
		{"AKIAIOSFODNN7EXAMPLE!", "[redacted]!"},
		{"paid with 4111 1111 1111 1111.", "paid with [redacted]."},
		{"not a card 4111 1111 1111 1112", "not a card 4111 1111 1111 1112"},
		{"ssn=123-45", "ssn=[redacted]-[redacted]"},
		{"K-123456 and K-654321", "[redacted] and [redacted]"},
		{"password=[redacted]hunter2", "password=[redacted]"},
		{"how to reset a password: see the wiki", "how to reset a password: [redacted] the wiki"}, // rather too much than too little
	} {
		r := mustNew(t, all)
		got := r.Text(tt.in)
		if got != tt.want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.want)
		}
		if again := r.Text(got); again != got {
			t.Errorf("%q done twice\n got %q\nwant %q", tt.in, again, got)
		}
	}
}

func TestIntelIsCleanedAndStaysJSON(t *testing.T) {
	got := mustNew(t, Settings{Builtin: []string{"passwords"}, Fields: []string{"alert.intel.score"}}).Event(story())
	if want := `{"list":[{"token":"[redacted]"}],"note":"password=[redacted]","score":"[redacted]"}`; string(got.Alert.Intel) != want {
		t.Errorf("intel\n got %s\nwant %s", got.Alert.Intel, want)
	}
}

// Two columns whose names become alike are both still there.
func TestColumnsThatBecomeAlike(t *testing.T) {
	ev := soar.Event{ID: "e", Alert: &soar.Alert{Event: map[string]string{"K-1": "a", "K-2": "b"}}}
	got := mustNew(t, Settings{Patterns: []string{`K-\d`}}).Event(ev).Alert.Event
	if len(got) != 2 || got[Hidden] == "" || got[Hidden+" 2"] == "" {
		t.Errorf("columns %v", got)
	}
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		s    Settings
		want string
	}{
		{Settings{Fields: []string{"alert.evnt.cmdline"}}, `redact: fields: "alert.evnt.cmdline": alert has no evnt; there are server, id,`},
		{Settings{Fields: []string{"id"}}, "id cannot be taken out"},
		{Settings{Fields: []string{"alert.severity"}}, "alert.severity is no text"},
		{Settings{Fields: []string{"alert..x"}}, "a name is empty"},
		{Settings{Fields: []string{"text.more"}}, "text has nothing in it"},
		{Settings{Patterns: []string{"("}}, "redact: patterns:"},
		{Settings{Patterns: []string{"a*"}}, "matches the empty text"},
		{Settings{Patterns: []string{strings.Repeat("a", 2000)}}, "too long"},
		{Settings{Builtin: []string{"password"}}, "none of passwords"},
	} {
		_, err := New(tt.s)
		if _, ok := errors.AsType[*Mistake](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.s, err, tt.want)
		}
	}
	for _, fields := range []string{"alert.event.*", "alert.*", "approval.with.target.name", "alert.rule.description", "row.columns.cmdline", "change.to.comment", "alert.host.name"} {
		if _, err := New(Settings{Fields: []string{fields}}); err != nil {
			t.Error(err)
		}
	}
}

func TestAllColumns(t *testing.T) {
	got := mustNew(t, Settings{Fields: []string{"alert.event.*", "alert.*"}}).Event(story()).Alert
	for name, value := range got.Event {
		if value != Hidden {
			t.Errorf("column %s is %q", name, value)
		}
	}
	if got.Server != "er" || got.ID != "4711" || got.Host.Name != Hidden || got.Rule.Name != Hidden || got.Rule.ID != 1 {
		t.Errorf("got %+v", got)
	}
}

// What would grow without end, or take for ever, goes as a whole.
func TestTextsWithoutEnd(t *testing.T) {
	r := mustNew(t, Settings{Builtin: []string{"passwords", "tokens", "cards"}, Patterns: []string{"[x]"}})
	for _, text := range []string{"x", strings.Repeat("xy", 2000), strings.Repeat(Hidden, 1200)} {
		if got := r.Text(text); got != Hidden {
			t.Errorf("%.20q became %d bytes", text, len(got))
		}
	}
}

// FuzzText feeds hostile text: whatever it is, the result holds nothing of what the
// rules match, a second pass changes nothing, and it is not much longer.
func FuzzText(f *testing.F) {
	for _, seed := range []string{
		"password=hunter2", "[redacted]", "[redacted[redacted]]", `pass="`, "token=[redacted]x", strings.Repeat("K-123456", 3), "\xff\xfepwd:\x00", "4111-1111-1111-1111",
		"-----BEGIN RSA PRIVATE KEY-----\nx", "aab", "redacted", "K-1?6123455662345K-123456",
	} {
		f.Add(seed)
	}
	r, err := New(Settings{Builtin: []string{"passwords", "tokens", "cards"}, Patterns: []string{`K-[0-9]{6}`, `[a-c]+b`, `^r`, `(d)\]`}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := r.Text(text)
		if again := r.Text(got); again != got {
			t.Fatalf("%q\nonce  %q\ntwice %q", text, got, again)
		}
		if len(got) > len(text)+len(Hidden)*(maxHits+1) {
			t.Fatalf("%d bytes became %d", len(text), len(got))
		}
		for _, piece := range strings.Split(got, Hidden) {
			if r.rules[0].re.MatchString(piece) { // K-[0-9]{6}, which asks nothing of what stands around it
				t.Fatalf("%q is left of %q", piece, text)
			}
		}
		ev := soar.Event{ID: text, Type: soar.EventTest, Text: text, Alert: &soar.Alert{ID: text, Comment: text, Event: map[string]string{text: text}}}
		out := r.Event(ev)
		if out.ID != text || out.Alert.ID != text || len(out.Alert.Event) != 1 {
			t.Fatalf("event of %q: %+v", text, out)
		}
		if !secretName(text) && (out.Text != got || out.Alert.Comment != got) {
			t.Fatalf("event of %q: %+v", text, out)
		}
		if again := r.Event(out); !reflect.DeepEqual(again, out) {
			t.Fatalf("event of %q\nonce  %+v\ntwice %+v", text, out.Alert, again.Alert)
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	r := mustNew(b, Settings{Builtin: []string{"passwords", "tokens", "cards"}, Fields: []string{"alert.event.cmdline"}})
	ev := story()
	for b.Loop() {
		r.Event(ev)
	}
}
