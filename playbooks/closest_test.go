package playbooks

import (
	"fmt"
	"testing"
)

// What combine, closest and against say of a match, held against all that the
// conditions could say: of every mix of up to four.
func TestClosestByTrying(t *testing.T) {
	n := 0
	var try func(list []Condition)
	try = func(list []Condition) {
		n++
		checkClosest(t, list)
		if len(list) == 4 || t.Failed() {
			return
		}
		for _, block := range []Block{All, Any, None} {
			for _, v := range []Verdict{Match, NoMatch, Failed} {
				try(append(list[:len(list):len(list)], Condition{Block: block, Name: fmt.Sprintf("c%d", len(list)), Verdict: v}))
			}
		}
	}
	try(nil)
	if n != 1+9+81+729+6561 {
		t.Errorf("%d mixes", n)
	}
}

func checkClosest(t *testing.T, list []Condition) {
	t.Helper()
	total := combine(list)
	if want := whatever(list, 0); total != want {
		t.Errorf("combine(%v) = %s, want %s", list, total, want)
	}
	turned := 0
	name := ""
	for i := range list {
		for _, v := range []Verdict{Match, NoMatch} {
			other := append([]Condition(nil), list...)
			if other[i].Verdict = v; total != Match && combine(other) == Match {
				turned, name = turned+1, list[i].Name
			}
		}
	}
	if turned != 1 {
		name = "" // none alone, or one of several
	}
	if got := closest(list); got != name {
		t.Errorf("closest(%v) = %q, want %q", list, got, name)
	}
	if got := against(list); (len(got) == 0) != (total == Match) || name != "" && len(got) != 1 {
		t.Errorf("against(%v) = %q", list, got)
	}
}

// whatever is the verdict that holds whatever those conditions say that failed; Failed
// when it depends on them.
func whatever(list []Condition, from int) Verdict {
	for i := from; i < len(list); i++ {
		if list[i].Verdict == Failed {
			yes, no := append([]Condition(nil), list...), append([]Condition(nil), list...)
			yes[i].Verdict, no[i].Verdict = Match, NoMatch
			if one := whatever(yes, i+1); one == whatever(no, i+1) {
				return one
			}
			return Failed
		}
	}
	any, holds := false, false
	for i := range list {
		switch c := &list[i]; {
		case c.Block == Any:
			any, holds = true, holds || c.Verdict == Match
		case (c.Verdict == Match) != (c.Block == All):
			return NoMatch
		}
	}
	if any && !holds {
		return NoMatch
	}
	return Match
}
