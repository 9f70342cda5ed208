package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/soar"
)

// output says how a command prints what it lists.
type output struct {
	format string // table, json or jsonl
	filter string // jq
}

// flags adds --output and --jq.
func (o *output) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "table, json (one list) or jsonl (one item a line)")
	cmd.Flags().StringVar(&o.filter, "jq", "", "a jq expression; its input is the list with --output json, and else each item in turn")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "jsonl"}, cobra.ShellCompDirectiveNoFileComp))
}

// limitFlag adds --limit.
func limitFlag(cmd *cobra.Command, limit *int) {
	*limit = 50
	cmd.Flags().Var((*atLeastOne)(limit), "limit", fmt.Sprintf("at most so many, from 1 to %d", maxListed))
}

// maxListed is what one query of the store returns at most.
const maxListed = 10_000

// atLeastOne is a flag for how many things to list.
type atLeastOne int

func (n *atLeastOne) String() string { return strconv.Itoa(int(*n)) }

// Type is the word for the value in a command's help.
func (n *atLeastOne) Type() string { return "int" }

// Set reads the value.
func (n *atLeastOne) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < 1 || v > maxListed {
		return fmt.Errorf("expected a number from 1 to %d", maxListed)
	}
	*n = atLeastOne(v)
	return nil
}

// check refuses a format that does not exist before any work is done.
func (o *output) check() error {
	switch o.format {
	case "table", "json", "jsonl":
	default:
		return usagef("--output %q: expected table, json or jsonl", o.format)
	}
	if _, err := o.program(); err != nil {
		return err
	}
	return nil
}

func (o *output) program() (*jq.Program, error) {
	if o.filter == "" {
		return nil, nil
	}
	p, err := jq.Compile(o.filter)
	if err != nil {
		return nil, usagef("--jq %q: %v", o.filter, err)
	}
	return p, nil
}

// column is one column of a table.
type column[T any] struct {
	title string
	text  func(T) string
}

// printList prints items in the way that was asked for. An empty table says so
// on stderr, so that a pipe gets nothing.
func printList[T any](ctx context.Context, cmd *cobra.Command, o *output, items []T, columns []column[T]) error {
	p, err := o.program()
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if items == nil {
		items = []T{} // null is not a list
	}
	switch {
	case o.format == "json":
		return printFiltered(ctx, w, p, items, "  ")
	case o.format == "jsonl" || p != nil:
		for _, item := range items {
			if err := printFiltered(ctx, w, p, item, ""); err != nil {
				return err
			}
		}
		return nil
	case len(items) == 0:
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "nothing to list")
		return err
	}
	return printTable(w, items, columns)
}

// printItem prints one thing: as a mapping unless a table form is given.
func printItem[T any](ctx context.Context, cmd *cobra.Command, o *output, item T, table func(io.Writer, T) error) error {
	p, err := o.program()
	if err != nil {
		return err
	}
	switch {
	case p == nil && o.format == "table":
		return table(cmd.OutOrStdout(), item)
	case o.format == "jsonl":
		return printFiltered(ctx, cmd.OutOrStdout(), p, item, "")
	}
	return printFiltered(ctx, cmd.OutOrStdout(), p, item, "  ")
}

func printFiltered(ctx context.Context, w io.Writer, p *jq.Program, value any, indent string) error {
	results := []any{value}
	if p != nil {
		plain, err := soar.Plain(value)
		if err != nil {
			return err
		}
		if results, err = p.Run(ctx, plain); err != nil {
			return fmt.Errorf("--jq: %w", err)
		}
	}
	for _, result := range results {
		if err := printJSON(w, result, indent); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(w io.Writer, value any, indent string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(text.Bytes())
	return err
}

func printTable[T any](w io.Writer, items []T, columns []column[T]) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, c := range columns {
		fmt.Fprint(tw, strings.ToUpper(c.title), ending(i, len(columns)))
	}
	for _, item := range items {
		for i, c := range columns {
			fmt.Fprint(tw, clean(c.text(item)), ending(i, len(columns)))
		}
	}
	return tw.Flush()
}

func ending(i, n int) string {
	if i == n-1 {
		return "\n"
	}
	return "\t"
}

// field is one line of the long form of one thing.
type field struct{ name, value string }

// printFields prints the long form, leaving out what is empty.
func printFields(w io.Writer, fields []field) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		if f.value != "" {
			fmt.Fprintf(tw, "%s\t%s\n", f.name, clean(f.value))
		}
	}
	return tw.Flush()
}

// clean makes text from outside harmless to a terminal: control characters,
// escape sequences and marks that turn the direction of writing become visible.
func clean(text string) string {
	harmless := true
	for _, r := range text {
		if !unicode.IsPrint(r) {
			harmless = false
			break
		}
	}
	if harmless {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// short cuts a text for a table.
func short(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}

// stamp is a time as tables show it: UTC, to the second.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
