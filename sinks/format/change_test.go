package format

import (
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

func TestChangeWords(t *testing.T) {
	resolved := soar.AlertState{Status: soar.StatusResolved, Verdict: soar.VerdictFalsePositive, Comment: "weekly scan [erbridge x]", EventCount: 3}
	for _, tt := range []struct {
		name   string
		change soar.AlertChange
		want   string
	}{
		{"resolved", soar.AlertChange{What: []string{"resolved", "verdict", "comment"}, Origin: soar.OriginAnalyst, By: "jane", To: resolved},
			"was resolved as false positive by jane: weekly scan"},
		{"resolved on a server that tells nothing", soar.AlertChange{What: []string{"resolved"}, Origin: soar.OriginAnalyst, To: soar.AlertState{Status: soar.StatusResolved}},
			"was resolved on the server"},
		{"by erbridge", soar.AlertChange{What: []string{"resolved"}, Origin: soar.OriginErbridge, Run: "R1", By: "soc", To: resolved},
			"was resolved as false positive by erbridge (run R1): weekly scan"},
		{"reopened", soar.AlertChange{What: []string{"reopened", "verdict"}, Origin: soar.OriginAnalyst, By: "joe", To: soar.AlertState{Status: soar.StatusOpen, Comment: "old"}},
			"was reopened by joe"},
		{"another verdict", soar.AlertChange{What: []string{"verdict"}, Origin: soar.OriginAnalyst, By: "joe", To: resolved}, "got the verdict false positive by joe: weekly scan"},
		{"another comment", soar.AlertChange{What: []string{"comment"}, Origin: soar.OriginAnalyst, By: "joe", To: resolved}, "got another comment by joe: weekly scan"},
		{"events", soar.AlertChange{What: []string{"events"}, Origin: soar.OriginServer, To: soar.AlertState{Status: soar.StatusOpen, EventCount: 12}}, "has 12 events"},
		{"resolved and reopened", soar.AlertChange{What: []string{"resolved", "reopened"}, Origin: soar.OriginAnalyst, By: "joe", To: soar.AlertState{Status: soar.StatusOpen}},
			"was reopened by joe"},
		{"a note", soar.AlertChange{What: []string{"note.added"}, Origin: soar.OriginAnalyst, By: "jane", Notes: []soar.AlertNote{{What: "note.added", Text: "it was bob"}}},
			"got a note by jane: it was bob"},
		{"a note that is gone", soar.AlertChange{What: []string{"note.removed"}, Origin: soar.OriginAnalyst, By: "jane", Notes: []soar.AlertNote{{What: "note.removed"}}},
			"lost a note by jane"},
		{"nothing", soar.AlertChange{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ChangeWords(&tt.change); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
	if ChangeWords(nil) != "" {
		t.Error("words for no change")
	}
}

// What analysts write is hostile and long: it is cut, and the event stays as it is.
func TestShortChangeCutsACopy(t *testing.T) {
	long := strings.Repeat("é", 5000)
	c := &soar.AlertChange{To: soar.AlertState{Comment: long}, Notes: []soar.AlertNote{{Text: long}}}
	short := ShortChange(c, 100)
	if len([]rune(short.To.Comment)) > 100 || len([]rune(short.Notes[0].Text)) > 100 {
		t.Errorf("%d and %d characters are left", len([]rune(short.To.Comment)), len([]rune(short.Notes[0].Text)))
	}
	if c.To.Comment != long || c.Notes[0].Text != long {
		t.Error("the event itself was cut")
	}
}
