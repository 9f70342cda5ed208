package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Position is a place in a file; Line and Column count from 1.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// At is the position of a node.
func At(file string, n *yaml.Node) Position {
	if n == nil {
		return Position{File: file, Line: 1, Column: 1}
	}
	return Position{File: file, Line: max(n.Line, 1), Column: max(n.Column, 1)}
}

// String is file:line:column.
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Problem is one mistake in a file that a user wrote.
type Problem struct {
	Position
	Code    string `json:"code"` // short and stable: unknown-key, wrong-type, ...
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Instead is what is likely meant in place of what stands there, as YAML.
	Instead string `json:"-"`
}

// Error is the problem on one line.
func (p Problem) Error() string {
	text := fmt.Sprintf("%s: %s [%s]", p.Position, p.Message, p.Code)
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	return text
}

// Problems are all the mistakes of one reading. As an error, it is one line each.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err is nil when there are no problems. Problems come out sorted by place.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}

// Addf adds a problem at a place.
func (ps *Problems) Addf(at Position, code, hint, format string, args ...any) {
	*ps = append(*ps, Problem{Position: at, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
}
