package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/lint"
)

func newDocs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "docs [CODE]...",
		Short: "explain what lint and check find; docs sinks explains the types of sinks",
		Long: `docs explains what a finding of playbook lint means and what to do about it, with
an example that has the mistake and one that has not.

CODE is a code such as PB502, or the word in brackets behind a mistake of check and
reload, such as unknown-key. docs sinks explains the types of sinks.`,
		Example: "  erbridge docs PB502",
		RunE: func(cmd *cobra.Command, given []string) error {
			w := cmd.OutOrStdout()
			if len(given) == 0 {
				return listCodes(w)
			}
			for i, code := range given {
				rule, ok := lint.Lookup(code)
				if !ok {
					return unknownCode(code)
				}
				if i > 0 {
					fmt.Fprintln(w)
				}
				fmt.Fprint(w, rulePage(&rule))
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var words []cobra.Completion
			for _, r := range lint.Rules() {
				words = append(words, cobra.CompletionWithDesc(r.Code, r.Title))
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.AddCommand(newDocsSinks())
	return cmd
}

func unknownCode(code string) error {
	hint := "erbridge docs lists them"
	if near := registry.Near(code, lint.Codes(), 1); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %s?", near[0])
	}
	return fmt.Errorf("code %q: %w; %s", code, soar.ErrNotFound, hint)
}

func listCodes(w io.Writer) error {
	for i, group := range lint.Groups() {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, group.Title)
		for _, r := range lint.Rules() {
			if r.Group() == group {
				fmt.Fprintf(w, "  %s  %s\n", r.Code, r.Title)
			}
		}
	}
	return nil
}

// rulePage is the page of a code for a terminal.
func rulePage(r *lint.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (%s)\n\n%s\n", r.Code, r.Title, r.Level, wrap(strings.NewReplacer("](", " (", "[", "").Replace(r.Text), 88))
	if r.Fixes {
		b.WriteString("\n`erbridge playbook lint --fix` corrects it, at least in most cases.\n")
	}
	if r.Bad == "" {
		return b.String()
	}
	if r.Beside != "" {
		fmt.Fprintf(&b, "\nBeside this playbook\n\n%s", indented(r.Beside))
	}
	fmt.Fprintf(&b, "\nThis has the mistake\n\n%s", indented(r.Bad))
	fmt.Fprintf(&b, "\nand this has not\n\n%s", indented(r.Good))
	return b.String()
}

// maxExampleLines is how much of an example is shown; some are long by nature.
const maxExampleLines = 15

func indented(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > maxExampleLines {
		lines = append(lines[:maxExampleLines], "...")
	}
	return "    " + strings.Join(lines, "\n    ") + "\n"
}

// wrap breaks a text into lines of at most so many characters, where there is a blank.
func wrap(text string, most int) string {
	var b strings.Builder
	length := 0
	for _, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case length == 0:
		case length+1+n > most:
			b.WriteString("\n")
			length = 0
		default:
			b.WriteString(" ")
			length++
		}
		b.WriteString(word)
		length += n
	}
	return b.String()
}
