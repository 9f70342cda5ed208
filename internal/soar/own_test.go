package soar

import (
	"testing"
	"time"
)

func TestOwnMark(t *testing.T) {
	run := NewRunID(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	mark := "erbridge-" + run.String() + "-note"
	ours := OwnLine(mark)
	for _, tt := range []struct {
		name, text string
		ours       bool
	}{
		{"a note", "contained\n\n" + ours, true},
		{"with white space behind it", "contained " + ours + "\n ", true},
		{"nothing else", ours, true},
		{"another erbridge's", "x [erbridge erbridge-" + NewRunID(time.Now()).String() + "-other.step-2]", true},
		{"quoted, and written on", "> contained\n> " + ours + "\nI do not think so", false},
		{"quoted before another bracket", ours + " [sic]", false},
		{"no run", "[erbridge it is broken again]", false},
		{"over two lines", "[erbridge erbridge-" + run.String() + "\n-x]", false},
		{"nothing in it", "[erbridge ]", false},
		{"empty", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, ok := OwnMark(tt.text); ok != tt.ours {
				t.Errorf("OwnMark(%q) is %v, want %v", tt.text, ok, tt.ours)
			}
		})
	}
	got, of, ok := OwnMark("contained\n\n" + ours)
	if got != mark || of != run || !ok {
		t.Errorf("mark %q of run %s, want %q of %s", got, of, mark, run)
	}
}

func TestWithOwnLine(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"weekly scan", "weekly scan [erbridge b]"},
		{"", "[erbridge b]"},
		{"weekly scan [erbridge a]", "weekly scan [erbridge b]"}, // resolved once more as it was
	} {
		if got := WithOwnLine(tt.text, "b"); got != tt.want {
			t.Errorf("%q becomes %q, want %q", tt.text, got, tt.want)
		}
	}
	if got := WithoutOwnLine("weekly scan [erbridge a]"); got != "weekly scan" {
		t.Errorf("without the line: %q", got)
	}
	if got := WithoutOwnLine("the [erbridge a] of it"); got != "the [erbridge a] of it" {
		t.Errorf("without a line: %q", got)
	}
}

func TestOwnChangeIsReadBack(t *testing.T) {
	c := OwnChange{
		Server: "er", ID: "7", Run: "R", Mark: "erbridge-R-s", Status: StatusResolved, Verdict: VerdictFalsePositive,
		At: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC),
	}
	got, err := ParseOwnChange(c.KV())
	if err != nil || got != c {
		t.Errorf("%+v, %v; want %+v", got, err, c)
	}
	kv := c.KV()
	kv.Key = OwnChangesOf("er", "8") + c.Mark
	if _, err := ParseOwnChange(kv); err == nil {
		t.Error("a value under another alert's key was taken for that alert's")
	}
	for _, tt := range []struct {
		name, status, verdict string
		want                  bool
	}{
		{"as wanted", StatusResolved, VerdictFalsePositive, true},
		{"by a server that keeps no verdict", StatusResolved, "", true},
		{"another verdict", StatusResolved, VerdictTruePositive, false},
		{"open", StatusOpen, "", false},
	} {
		if got := c.MadeIt(&Alert{Status: tt.status, Verdict: tt.verdict}); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestChangesInARowAreOne(t *testing.T) {
	open, closed := AlertState{Status: StatusOpen}, AlertState{Status: StatusResolved, Verdict: VerdictTruePositive}
	first := AlertChange{What: []string{ChangeResolved, ChangeVerdict}, Origin: OriginAnalyst, By: "jane", From: open, To: closed}
	grown := closed
	grown.EventCount = 3
	both := first.Then(AlertChange{What: []string{ChangeEvents}, Origin: OriginServer, From: closed, To: grown})
	if both.Origin != OriginAnalyst || both.By != "jane" || both.From != open || both.To != grown || len(both.What) != 3 {
		t.Errorf("%+v: the analyst's change is to be seen in it", both)
	}
	if len(first.What) != 2 {
		t.Errorf("the first change became %v", first.What)
	}
}
