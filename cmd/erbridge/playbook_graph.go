package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// formats are the words for the ways to draw a playbook.
var formats = []string{"text", "mermaid", "dot"}

var drawings = map[string]func(w io.Writer, o *playbooks.Outline) error{"text": drawText, "mermaid": drawMermaid, "dot": drawDot}

func newPlaybookGraph() *cobra.Command {
	var file configFlag
	var format string
	cmd := &cobra.Command{
		Use:   "graph PLAYBOOK",
		Short: "draw the steps of a playbook",
		Long: `graph draws what a playbook does: as text, as a Mermaid flowchart for a page or a pull
request, or in the language of Graphviz.

PLAYBOOK is a file, or the name of a playbook of the configuration or the library.`,
		Example: `  erbridge playbook graph contain-shadow-copy-deletion
  erbridge playbook graph kill-miner.yaml --format dot | dot -Tsvg > kill-miner.svg`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			draw := drawings[format]
			if draw == nil {
				return usagef("--format %q: expected %s", format, strings.Join(formats, ", "))
			}
			pb, err := findPlaybook(given[0], &file)
			if err != nil {
				return err
			}
			return draw(cmd.OutOrStdout(), pb.Outline())
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&format, "format", "text", strings.Join(formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// drawText is the playbook as an indented list.
func drawText(w io.Writer, o *playbooks.Outline) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s\n", o.Playbook, triggers(o))
	for _, c := range o.Conditions {
		fmt.Fprintf(&b, "  %s %s\n", c.Block, clean(c.Name))
	}
	for _, e := range o.Enrich {
		fmt.Fprintf(&b, "  enrich %s: %s\n", e.Name, e.Action)
	}
	for _, hold := range holds(o) {
		fmt.Fprintf(&b, "  %s\n", hold)
	}
	textSteps(&b, o.Steps, "  ")
	if len(o.Finally) > 0 {
		b.WriteString("  finally\n")
		textSteps(&b, o.Finally, "    ")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func textSteps(b *strings.Builder, steps []playbooks.OutlineStep, indent string) {
	for i := range steps {
		s := &steps[i]
		fmt.Fprintf(b, "%s- %s: %s", indent, s.ID, stepWord(s))
		for _, note := range stepNotes(s) {
			b.WriteString("; " + note)
		}
		b.WriteString("\n")
		for n, branch := range s.Branches {
			fmt.Fprintf(b, "%s    branch %d\n", indent, n+1)
			textSteps(b, branch, indent+"      ")
		}
		if len(s.Handlers) > 0 {
			fmt.Fprintf(b, "%s    on_error\n", indent)
			textSteps(b, s.Handlers, indent+"      ")
		}
	}
}

// triggers is what starts runs.
func triggers(o *playbooks.Outline) string {
	words := slices.Clone(o.On)
	for i := range words {
		if words[i] == "schedule" {
			words[i] += " " + o.Schedule
		}
	}
	return strings.Join(words, ", ")
}

// holds are what makes fewer runs than alerts, or looks at several alerts.
func holds(o *playbooks.Outline) (words []string) {
	for _, hold := range []struct {
		word  string
		reach time.Duration
	}{{"counts like alerts of", o.Count}, {"one run for the like alerts of", o.Group}, {"cool-down", o.Cooldown}} {
		if hold.reach > 0 {
			words = append(words, hold.word+" "+registry.FormatDuration(hold.reach))
		}
	}
	return words
}

// stepWord is what a step does.
func stepWord(s *playbooks.OutlineStep) string {
	switch {
	case s.Call != "":
		return "call " + s.Call
	case s.Branches != nil:
		return "parallel"
	}
	return s.Action
}

// stepNotes are how a step is done.
func stepNotes(s *playbooks.OutlineStep) (notes []string) {
	if s.If != "" {
		notes = append(notes, "if "+oneLine(s.If))
	}
	return append(notes, boxNotes(s)...)
}

// boxNotes are stepNotes without the condition, which a drawing has in a shape of its own.
func boxNotes(s *playbooks.OutlineStep) (notes []string) {
	if s.ForEach != "" {
		note := "for each of " + oneLine(s.ForEach)
		if s.MaxParallel > 1 {
			note += fmt.Sprintf(", %d at a time", s.MaxParallel)
		}
		notes = append(notes, note)
	}
	if s.Attempts > 1 {
		notes = append(notes, fmt.Sprintf("%d attempts", s.Attempts))
	}
	if s.Bounded {
		notes = append(notes, "within "+registry.FormatDuration(s.Timeout))
	}
	if s.CarryOn {
		notes = append(notes, "goes on after a failure")
	}
	return notes
}

func oneLine(text string) string { return short(clean(strings.Join(strings.Fields(text), " ")), 60) }

// graph collects what Mermaid and Graphviz both draw.
type graph struct {
	nodes []node
	edges []edge
}

type node struct {
	id, label string
	shape     shape
}

type shape int

const (
	box shape = iota
	rhombus
	round
)

type edge struct{ from, to, label string }

// end is where a run goes on after a step: the edges that are still to be drawn.
type end struct{ from, label string }

func newGraph(o *playbooks.Outline) *graph {
	g := &graph{}
	g.node("match", headWords(o), rhombus)
	open := []end{{"match", "match"}}
	g.node("done", "done", round)
	g.node("failed", "failed", round)
	open, broken := g.steps(o.Steps, open, false)
	if len(o.Finally) > 0 { // every run comes here, and ends as it would have ended
		g.node("finally", "finally", round)
		g.join(open, "finally")
		g.join(broken, "finally")
		var failed []end
		open, failed = g.steps(o.Finally, []end{{from: "finally"}}, true)
		if broken != nil || len(o.Finally) > 1 {
			failed = append(failed, labelled(open, "after a failure")...)
		}
		broken = failed
	}
	g.join(open, "done")
	g.join(broken, "failed")
	return g
}

// headWords are what starts a run, in a few words.
func headWords(o *playbooks.Outline) string {
	lines := []string{o.Playbook, "on " + triggers(o)}
	if n := len(o.Conditions); n > 0 {
		lines = append(lines, count(n, "condition"))
	}
	for _, e := range o.Enrich {
		lines = append(lines, "enrich "+e.Name+": "+e.Action)
	}
	return strings.Join(append(lines, holds(o)...), "\n")
}

func labelled(ends []end, label string) (list []end) {
	for _, e := range ends {
		list = append(list, end{e.from, label})
	}
	return list
}

func (g *graph) node(id, label string, s shape) { g.nodes = append(g.nodes, node{id, label, s}) }

func (g *graph) join(ends []end, to string) {
	for _, e := range ends {
		g.edges = append(g.edges, edge{e.from, to, e.label})
	}
}

// steps draws a list. It returns where a run goes on after it, and where it breaks
// off: never before the last step where all are done, as under finally.
func (g *graph) steps(list []playbooks.OutlineStep, open []end, all bool) (after, broken []end) {
	for i := range list {
		s := &list[i]
		id, asked := "step_"+s.ID, "if_"+s.ID
		g.node(id, strings.Join(append([]string{s.ID, stepWord(s)}, boxNotes(s)...), "\n"), box)
		if s.If != "" {
			g.node(asked, oneLine(s.If), rhombus)
			g.join(open, asked)
			g.edges = append(g.edges, edge{asked, id, "true"})
		} else {
			g.join(open, id)
		}
		open = []end{{from: id}}
		inside := []end{{id, "failure"}}
		if len(s.Branches) > 0 {
			open, inside = nil, nil
			for _, branch := range s.Branches {
				ends, more := g.steps(branch, []end{{from: id}}, false)
				open, inside = append(open, ends...), append(inside, more...)
			}
		}
		var off []end // where the run breaks off
		switch {
		case s.CarryOn:
			for _, e := range inside {
				if e.from != id {
					open = append(open, e)
				}
			}
		case len(s.Handlers) > 0:
			ends, more := g.steps(s.Handlers, inside, false)
			off = slices.Concat(ends, more)
		default:
			off = inside
		}
		if all && i+1 < len(list) {
			open = append(open, off...)
		} else {
			broken = append(broken, off...)
		}
		if s.If != "" {
			open = append(open, end{asked, "false"})
		}
	}
	return open, broken
}

// drawMermaid writes a flowchart. Texts stand between quotes, and what has a meaning
// there is written as an entity.
func drawMermaid(w io.Writer, o *playbooks.Outline) error {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	shapes := map[shape][2]string{box: {"[", "]"}, rhombus: {"{", "}"}, round: {"([", "])"}}
	g := newGraph(o)
	for _, n := range g.nodes {
		around := shapes[n.shape]
		fmt.Fprintf(&b, "  %s%s\"%s\"%s\n", n.id, around[0], mermaidText(n.label), around[1])
	}
	for _, e := range g.edges {
		arrow := "-->"
		if e.label != "" {
			arrow += "|" + e.label + "|"
		}
		fmt.Fprintf(&b, "  %s %s %s\n", e.from, arrow, e.to)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mermaidText writes what Mermaid reads as markup as entities: %%{...}%% would be a
// directive even between quotes, and a backtick begins Markdown.
func mermaidText(text string) string {
	return strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "&", "#amp;", "%", "#37;", "`", "#96;", "\n", "<br>").Replace(text)
}

// drawDot writes the language of Graphviz.
func drawDot(w io.Writer, o *playbooks.Outline) error {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n  node [fontname=\"sans-serif\"];\n", dotText(o.Playbook))
	shapes := map[shape]string{box: "box", rhombus: "diamond", round: "oval"}
	g := newGraph(o)
	for _, n := range g.nodes {
		fmt.Fprintf(&b, "  %s [shape=%s, label=%s];\n", n.id, shapes[n.shape], dotText(n.label))
	}
	for _, e := range g.edges {
		fmt.Fprintf(&b, "  %s -> %s", e.from, e.to)
		if e.label != "" {
			fmt.Fprintf(&b, " [label=%s]", dotText(e.label))
		}
		b.WriteString(";\n")
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func dotText(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}
