package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/erbridge/erbridge/internal/soar"
)

// Formats lists the words that Write takes.
func Formats() []string { return []string{"human", "json", "sarif", "github", "junit"} }

// Write prints findings in one of the formats. files are the names of all that was
// checked; version is that of the program.
func Write(w io.Writer, format string, findings []Finding, files []string, version string) error {
	switch format {
	case "human":
		return writeHuman(w, findings)
	case "json":
		if findings == nil {
			findings = []Finding{} // null is not a list
		}
		return writeJSON(w, findings)
	case "sarif":
		return writeJSON(w, sarif(findings, version))
	case "github":
		return writeGitHub(w, findings)
	case "junit":
		return writeJUnit(w, findings, files)
	}
	return fmt.Errorf("unknown format %q", format)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeHuman shows each finding with its line and a caret below the place. File
// names and lines come from others: what could steer a terminal is spelled out.
func writeHuman(w io.Writer, findings []Finding) error {
	var b strings.Builder
	for i, f := range findings {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(soar.Visible(f.String()))
		if f.Level == Warning {
			b.WriteString(" (warning)")
		}
		b.WriteString("\n")
		if f.Source != "" {
			line, caret := excerpt(f.Source, f.Column)
			number := fmt.Sprintf("%5d", f.Line)
			fmt.Fprintf(&b, "%s | %s\n%s | %s^\n", number, line, strings.Repeat(" ", len(number)), caret)
		}
		if f.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", soar.Visible(f.Hint))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// maxExcerpt is how many characters of a line are shown.
const maxExcerpt = 120

// excerpt is a line as it is shown, and the blanks that bring a caret below the
// column. Of a long line, the surroundings of the column are shown.
func excerpt(source string, column int) (line, blanks string) {
	runes := []rune(source)
	column = min(max(column, 1), len(runes)+1)
	if len(runes) > maxExcerpt {
		from := min(max(column-1-maxExcerpt/2, 0), len(runes)-maxExcerpt)
		runes, column = runes[from:from+maxExcerpt], column-from
		if from > 0 {
			runes = append([]rune("…"), runes...)
			column++
		}
		if from+maxExcerpt < len([]rune(source)) {
			runes = append(runes, '…')
		}
	}
	var text, before strings.Builder
	for i, r := range runes {
		switch {
		case r == '\t':
			r = ' '
		case !unicode.IsPrint(r):
			r = '·'
		}
		text.WriteRune(r)
		if i < column-1 {
			before.WriteString(strings.Repeat(" ", width(r)))
		}
	}
	return text.String(), before.String()
}

// width is how many columns of a terminal a character takes.
func width(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana), 0x1f300 <= r && r <= 0x1faff, 0xff01 <= r && r <= 0xff60, 0x3000 <= r && r <= 0x303f:
		return 2
	}
	return 1
}

// writeGitHub prints workflow commands, which GitHub shows beside the lines.
func writeGitHub(w io.Writer, findings []Finding) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range findings {
		message := f.Message
		if f.Hint != "" {
			message += "; " + f.Hint
		}
		_, err := fmt.Fprintf(w, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", f.Level, property.Replace(soar.Visible(f.File)), f.Line, f.Column, f.Code, data.Replace(soar.Visible(message)))
		if err != nil {
			return err
		}
	}
	return nil
}
