package soar

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseSeverity(t *testing.T) {
	for _, tt := range []struct {
		in    string
		want  Severity
		known bool
	}{
		{"HIGH", SeverityHigh, true},
		{" Critical ", SeverityCritical, true},
		{"", SeverityInfo, true},              // the server sends null for rules that have none
		{"WARNING", SeverityMedium, true},     // releases before 4.0
		{"Apocalyptic", "apocalyptic", false}, // a word of a later release
	} {
		if got, known := ParseSeverity(tt.in); got != tt.want || known != tt.known {
			t.Errorf("ParseSeverity(%q) = %q, %v, want %q, %v", tt.in, got, known, tt.want, tt.known)
		}
	}
}

func TestSeverityOrder(t *testing.T) {
	order := []Severity{SeverityInfo, SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical}
	if !slices.IsSortedFunc(order, func(a, b Severity) int { return a.Rank() - b.Rank() }) {
		t.Errorf("ranks are out of order")
	}
	if !SeverityHigh.AtLeast(SeverityHigh) || SeverityLow.AtLeast(SeverityMedium) {
		t.Error("AtLeast is wrong about high and low")
	}
	if got := Severity("apocalyptic").Rank(); got != SeverityMedium.Rank() {
		t.Errorf("an unknown word ranks %d, want that of medium", got)
	}
}

func TestRunIDsSortByTimeAndReadBack(t *testing.T) {
	start := time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC)
	var texts []string
	for i := range 100 {
		id := NewRunID(start.Add(time.Duration(i) * time.Millisecond))
		back, err := ParseRunID(strings.ToUpper(id.String()))
		if err != nil || back != id {
			t.Fatalf("%s reads as %v, %v", id, back, err)
		}
		texts = append(texts, id.String())
	}
	if !slices.IsSorted(texts) {
		t.Errorf("the texts of ids do not sort by time: %q", texts)
	}
	if a, b := NewRunID(start), NewRunID(start); a == b {
		t.Errorf("two runs of one millisecond have the id %s", a)
	}
}

func TestRunIDInJSON(t *testing.T) {
	id := NewRunID(time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC))
	data, err := json.Marshal(map[string]any{"run": id})
	if err != nil {
		t.Fatal(err)
	}
	var back struct{ Run RunID }
	if err := json.Unmarshal(data, &back); err != nil || back.Run != id {
		t.Errorf("%s reads as %v, %v", data, back.Run, err)
	}
}

func TestParseRunIDRefuses(t *testing.T) {
	for _, in := range []string{"", "123", "0123456789abcd", "012345678901u", "0123456789ab\x00", "0123456789ab\u00e9"} {
		if id, err := ParseRunID(in); err == nil {
			t.Errorf("ParseRunID(%q) = %s, want an error", in, id)
		}
	}
}

// A secret prints as [redacted] in every way that Go has of printing things.
func TestSecretsDoNotPrint(t *testing.T) {
	const value = "hunter2"
	s := SecretValue(value)
	holder := struct {
		Name     string
		Password Secret
		Pointer  *Secret
	}{"x", s, &s}
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed = append(printed, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, []Secret{s}))
	}
	data, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "holder", holder)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "holder", holder)
	printed = append(printed, string(data), log.String())
	for _, text := range printed {
		if strings.Contains(text, value) || strings.Contains(text, fmt.Sprintf("%x", value)) {
			t.Errorf("the value is in %s", text)
		}
	}
	if !strings.Contains(string(data), redacted) {
		t.Errorf("JSON is %s", data)
	}
}

func TestSecretReveal(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("ERBRIDGE_TEST_SECRET", "from env")
	t.Setenv("ERBRIDGE_TEST_EMPTY", "")
	write("cred", "from systemd\r\n")
	for _, tt := range []struct {
		name        string
		secret      Secret
		credentials string
		want, err   string
	}{
		{"env", SecretFromEnv("ERBRIDGE_TEST_SECRET"), "", "from env", ""},
		{"empty env", SecretFromEnv("ERBRIDGE_TEST_EMPTY"), "", "", "environment variable ERBRIDGE_TEST_EMPTY is not set"},
		{"file", SecretFromFile(write("a", " two\nlines \n")), "", " two\nlines ", ""},
		{"empty file", SecretFromFile(write("b", "\n")), "", "", "is empty"},
		{"large file", SecretFromFile(write("c", strings.Repeat("x", maxSecretBytes+1))), "", "", "larger than"},
		{"absent file", SecretFromFile(filepath.Join(dir, "absent")), "", "", "no such file"},
		{"credential", SecretFromCredential("cred"), dir, "from systemd", ""},
		{"credential outside", SecretFromCredential("../" + filepath.Base(dir) + "/cred"), dir, "from systemd", ""},
		{"no credentials", SecretFromCredential("cred"), "", "", "CREDENTIALS_DIRECTORY is not set"},
		{"zero", Secret{}, "", "", "no secret is configured"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CREDENTIALS_DIRECTORY", tt.credentials)
			got, err := tt.secret.Reveal()
			if got != tt.want || (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("Reveal() = %q, %v, want %q, %q", got, err, tt.want, tt.err)
			}
			if tt.secret.IsSet() != (tt.name != "zero") {
				t.Errorf("IsSet() = %v", tt.secret.IsSet())
			}
		})
	}
}

// Integers handed to jq make it return an error whose own text panics.
func TestPlainHasOnlyJSONValues(t *testing.T) {
	in := map[string]any{"id": int64(math.MaxInt32), "at": time.Unix(0, 0).UTC(), "tags": []string{"a"}, "none": (*int)(nil)}
	got, err := Plain(in)
	want := map[string]any{"id": float64(math.MaxInt32), "at": "1970-01-01T00:00:00Z", "tags": []any{"a"}, "none": nil}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Plain = %#v, %v\nwant %#v", got, err, want)
	}
	if _, err := Plain(math.NaN()); err == nil {
		t.Error("a number that JSON does not have was taken")
	}
}

func TestAlertTitleAndRef(t *testing.T) {
	a := Alert{Server: "er", ID: "17", Source: "ioc"}
	if a.Ref() != "er-17" || a.Title() != "ioc match" {
		t.Errorf("%s %q", a.Ref(), a.Title())
	}
	a.Rule = &Rule{Name: "Shadow copies deleted"}
	if a.Title() != "Shadow copies deleted" {
		t.Errorf("title %q", a.Title())
	}
	if (&Alert{ID: "3"}).Title() != "alert 3" {
		t.Error("an alert of nothing has no title")
	}
}

// Only what certainly happened, or was deliberately not done, lets a run go on.
func TestStatesThatLaterStepsMayBuildOn(t *testing.T) {
	for state, want := range map[StepState]bool{
		StepPlanned: false, StepSent: false, StepAccepted: false, StepExecuted: true, StepVerified: true, StepFailed: false,
		StepRefused: false, StepExpired: false, StepCancelled: false, StepSuppressed: true, StepObserved: true,
		StepSkipped: true, StepUnknown: false, "": false,
	} {
		if state.OK() != want {
			t.Errorf("%q.OK() = %v", state, state.OK())
		}
	}
	for state, want := range map[RunState]bool{RunRunning: false, RunWaiting: false, RunDone: true, RunFailed: true, RunUnknown: true, RunCancelled: true} {
		if state.Ended() != want {
			t.Errorf("%q.Ended() = %v", state, state.Ended())
		}
	}
	if wrapped := fmt.Errorf("store: %w", ErrBusy); !errors.Is(wrapped, ErrBusy) || errors.Is(wrapped, ErrNotAccepting) {
		t.Error("errors of the store cannot be told apart")
	}
}
