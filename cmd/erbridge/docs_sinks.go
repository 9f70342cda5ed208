package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/docs/reference"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/guide"
)

func newDocsSinks() *cobra.Command {
	return &cobra.Command{
		Use:   "sinks [TYPE]...",
		Short: "explain a type of sink, from setting up its receiver to its errors; without one, list them",
		Long: `docs sinks explains a type of sink: what to do at the receiver, with which rights, an
example, all settings, what is delivered, what errors mean, how repeats are
recognised, and what bounds there are.`,
		Example: "  erbridge docs sinks splunk",
		RunE: func(cmd *cobra.Command, types []string) error {
			w := cmd.OutOrStdout()
			if len(types) == 0 {
				return listSinkTypes(w)
			}
			for i, name := range types {
				page, err := sinkPage(name)
				if err != nil {
					return err
				}
				if i > 0 {
					fmt.Fprintln(w)
				}
				if _, err := io.WriteString(w, page); err != nil {
					return err
				}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var words []cobra.Completion
			for _, name := range sinks.Types.Names() {
				kind, _ := sinks.Types.Get(name)
				words = append(words, cobra.CompletionWithDesc(name, kind.Summary))
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func listSinkTypes(w io.Writer) error {
	for _, name := range sinks.Types.Names() {
		kind, _ := sinks.Types.Get(name)
		if _, err := fmt.Fprintf(w, "%-10s %s\n", name, strings.TrimSuffix(kind.Summary, ".")); err != nil {
			return err
		}
	}
	return nil
}

// sinkPage is the page of a sink type for a terminal. Its prose is the guide, its
// settings are those of the reference.
func sinkPage(name string) (string, error) {
	kind, ok := sinks.Types.Get(name)
	if !ok {
		hint := "erbridge docs sinks lists them"
		if near := registry.Near(name, sinks.Types.Names(), 1); len(near) > 0 {
			hint = fmt.Sprintf("did you mean %s?", near[0])
		}
		return "", fmt.Errorf("sink type %q: %w; %s", name, soar.ErrNotFound, hint)
	}
	g, err := guide.For(name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n%s\n", name, strings.TrimSuffix(kind.Summary, "."), g.Intro)
	for _, title := range guide.Sections {
		text := g.Section(title)
		switch title {
		case "Example":
			text = strings.TrimRight(indent(g.Example()), " \n")
		case "What is delivered":
			text += "\n\n" + wrap("Unless events says otherwise: "+strings.Join(deliveredByDefault(kind), ", ")+".", docsWidth)
		case "Errors":
			text += "\n\n" + guide.Common().Section("Errors")
		}
		fmt.Fprintf(&b, "\n%s\n\n%s\n", strings.ToUpper(title), text)
		if title == "Example" {
			fmt.Fprintf(&b, "\nSETTINGS\n\n%s\nSETTINGS OF EVERY SINK\n\n%s", sinkSettings("`"+name+"`"), sinkSettings("Settings of every sink"))
		}
	}
	return b.String(), nil
}

const docsWidth = 96

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }

func deliveredByDefault(kind sinks.Type) []string {
	events := kind.Events
	if events == nil {
		events = sinks.DefaultEvents
	}
	var names []string
	for _, e := range events {
		names = append(names, string(e))
	}
	return names
}

// sinkSettings is a section of the reference page for a terminal: a line for each
// setting, and its meaning below.
func sinkSettings(title string) string {
	_, section, _ := strings.Cut(reference.Sinks, "\n## "+title+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var b strings.Builder
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if inside, ok := strings.CutPrefix(line, "### "); ok {
			fmt.Fprintf(&b, "  Inside %s:\n\n", strings.Trim(inside, "`"))
			continue
		}
		cells := tableCells(line)
		if len(cells) != 4 || !strings.HasPrefix(cells[0], "`") {
			continue
		}
		kind := strings.ReplaceAll(cells[1], "`", "")
		if cells[2] != "" {
			kind += ", default " + strings.Trim(cells[2], "`")
		}
		fmt.Fprintf(&b, "  %s (%s)\n", strings.Trim(cells[0], "`"), kind)
		for paragraph := range strings.SplitSeq(cells[3], "<br>") {
			fmt.Fprintf(&b, "      %s\n", strings.ReplaceAll(wrap(paragraph, docsWidth-6), "\n", "\n      "))
		}
	}
	return b.String()
}

// tableCells are the cells of a row of a Markdown table, in which a bar in the text
// is written \|.
func tableCells(line string) []string {
	if !strings.HasPrefix(line, "|") {
		return nil
	}
	const bar = "\x00"
	line = strings.ReplaceAll(line, `\|`, bar)
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i, cell := range cells {
		cells[i] = strings.TrimSpace(strings.ReplaceAll(cell, bar, "|"))
	}
	return cells
}
