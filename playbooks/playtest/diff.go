package playtest

import (
	"encoding/json"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// lines shows a difference: what was wanted behind -, what is there behind +. Of
// texts with several lines, those that are the same are shown once.
func (d *Difference) lines() []string {
	want, several := textLines(d.Want)
	got, too := textLines(d.Got)
	if !several && !too {
		return []string{"- " + oneLine(d.Want), "+ " + oneLine(d.Got)}
	}
	if len(want)*len(got) > maxCompared {
		return append(marked("- ", want), marked("+ ", got)...)
	}
	return diffLines(want, got)
}

// maxCompared bounds the table of diffLines.
const maxCompared = 1 << 20

// textLines are the lines of a text in JSON; several when there is more than one.
func textLines(value string) (lines []string, several bool) {
	var text string
	if json.Unmarshal([]byte(value), &text) != nil {
		text = value
	}
	lines = strings.Split(soar.Visible(text), "\n")
	return lines, len(lines) > 1
}

func marked(sign string, lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = sign + line
	}
	return out
}

// diffLines goes by the longest common subsequence.
func diffLines(want, got []string) (out []string) {
	common := make([][]int, len(want)+1) // of what is left from i and j on
	for i := range common {
		common[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			if want[i] == got[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(want) || j < len(got) {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			out = append(out, "  "+want[i])
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "- "+want[i])
			i++
		default:
			out = append(out, "+ "+got[j])
			j++
		}
	}
	return out
}
