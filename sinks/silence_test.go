package sinks_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks"
)

func quietAlert(rule, host string) *soar.Alert {
	return &soar.Alert{Server: "er", ID: "7", Source: "rule", Rule: &soar.Rule{Name: rule}, Host: soar.Host{Name: host}}
}

func TestSilencesOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().UTC().Truncate(time.Second)
	clock := func() time.Time { return now }
	s, shut := openStore(t, dir)
	silences := sinks.NewSilences(s, clock)
	one := sinks.SilenceLike("soc", quietAlert("Odd shell", "PC-1"), true)
	one.Until, one.By, one.Reason = now.Add(time.Hour), "alice", "a test of the blue team"
	kept, err := silences.Add(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	shut()

	s, _ = openStore(t, dir)
	silences = sinks.NewSilences(s, clock)
	if err := silences.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		sink, rule, host string
		want             bool
	}{
		{"soc", "Odd shell", "PC-1", true},
		{"soc", "Odd shell", "pc-1", true},
		{"soc", "Odd shell", "PC-2", false},
		{"soc", "Odd shells", "PC-1", false},
		{"siem", "Odd shell", "PC-1", false},
	} {
		if got, ok := silences.Of(tt.sink, quietAlert(tt.rule, tt.host)); ok != tt.want || ok && got.ID != kept.ID {
			t.Errorf("Of(%q, %q on %q) = %v, %t; want %t", tt.sink, tt.rule, tt.host, got, ok, tt.want)
		}
	}

	// The same again prolongs it, and never cuts it short.
	one.Until = now.Add(time.Minute)
	if again, err := silences.Add(t.Context(), one); err != nil || again.ID != kept.ID || !again.Until.Equal(kept.Until) {
		t.Errorf("added again: %+v, %v; want the end of %+v", again, err, kept)
	}
	if list := silences.List(); len(list) != 1 || !list[0].Until.Equal(kept.Until) {
		t.Errorf("list %+v", list)
	}
	now = now.Add(2 * time.Hour)
	if got, ok := silences.Of("soc", quietAlert("Odd shell", "PC-1")); ok || len(silences.List()) != 0 {
		t.Errorf("it holds after its end: %+v", got)
	}
	if _, err := silences.End(t.Context(), kept.ID, "bob", ""); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("ended after its end: %v", err)
	}
	acts, err := s.AuditEntries(t.Context(), store.AuditFilter{Kind: "act"})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, a := range acts {
		told = append(told, string(a.Body))
	}
	if all := strings.Join(told, "\n"); !strings.Contains(all, "begun") || !strings.Contains(all, "prolonged") || !strings.Contains(all, "alice") {
		t.Errorf("the audit record says\n%s", all)
	}
}

func TestSilenceThatCannotBe(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	now := time.Now()
	silences := sinks.NewSilences(s, func() time.Time { return now })
	good := sinks.Silence{Rule: "Odd shell", Until: now.Add(time.Hour), By: "alice"}
	for _, tt := range []struct {
		name string
		edit func(*sinks.Silence)
		want string
	}{
		{"no rule", func(s *sinks.Silence) { s.Rule = " " }, "which alerts"},
		{"nobody", func(s *sinks.Silence) { s.By = "" }, "by name"},
		{"over already", func(s *sinks.Silence) { s.Until = now }, "end at once"},
		{"for ever", func(s *sinks.Silence) { s.Until = now.AddDate(1, 0, 0) }, "and 90d is the longest"},
		{"long text", func(s *sinks.Silence) { s.Reason = strings.Repeat("x", 2000) }, "too long"},
	} {
		bad := good
		tt.edit(&bad)
		if _, err := silences.Add(t.Context(), bad); !errors.Is(err, sinks.ErrSilence) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
	kept, err := silences.Add(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := silences.End(t.Context(), kept.ID, "", ""); !errors.Is(err, sinks.ErrSilence) {
		t.Errorf("ended by nobody: %v", err)
	}
	if _, err := silences.End(t.Context(), kept.ID, "bob", "it was the wrong rule"); err != nil {
		t.Error(err)
	}
	if _, ok := silences.Of("any", quietAlert("Odd shell", "PC-1")); ok {
		t.Error("it holds after it was ended")
	}
}
