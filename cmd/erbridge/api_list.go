package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/internal/registry"
)

func newAPIList() *cobra.Command {
	out := output{}
	var section string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the calls of the server's API",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			var calls []catalogue.Call
			for _, s := range catalogue.Sections() {
				if section == "" || s.Name == section {
					calls = append(calls, s.Calls...)
				}
			}
			if calls == nil {
				return unknownSection(section)
			}
			return printList(cmd.Context(), cmd, &out, calls, []column[catalogue.Call]{
				{"id", func(c catalogue.Call) string { return c.ID }},
				{"call", func(c catalogue.Call) string { return c.Method + " " + pathOf(&c) }},
				{"effect", func(c catalogue.Call) string { return string(c.Effect) }},
				{"role", func(c catalogue.Call) string { return c.Role }},
				{"available", func(c catalogue.Call) string { return c.Availability() }},
				{"what", func(c catalogue.Call) string { return c.Summary }},
			})
		},
	}
	out.flags(cmd)
	cmd.Flags().StringVar(&section, "section", "", "only the calls of one section: "+strings.Join(sectionNames(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("section", cobra.FixedCompletions(sectionNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func newAPIShow() *cobra.Command {
	out := output{}
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "explain one call of the server's API: its arguments, effect, edition, release and role",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			call := catalogue.Find(given[0])
			if call == nil {
				return unknownCall(given[0])
			}
			return printItem(cmd.Context(), cmd, &out, call, showCall)
		},
		ValidArgsFunction: func(_ *cobra.Command, given []string, start string) ([]string, cobra.ShellCompDirective) {
			if len(given) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return idsFrom(start), cobra.ShellCompDirectiveNoFileComp
		},
	}
	out.flags(cmd)
	return cmd
}

// showCall prints all that the catalogue says about a call.
func showCall(w io.Writer, c *catalogue.Call) error {
	role := c.Role
	switch {
	case c.Open:
		role = "none: needs no login"
	case role == "":
		role = "any"
	}
	err := printFields(w, []field{
		{"id", c.ID}, {"what", c.Summary}, {"call", c.Method + " " + pathOf(c)}, {"section", c.Section}, {"effect", effectWords[c.Effect]},
		{"available", c.Availability()}, {"role", role}, {"answer", answerWords[c.Answer]}, {"client", strings.Join(c.Client, ", ")},
		{"secrets", strings.Join(c.Secrets, ", ")},
	})
	if err != nil {
		return err
	}
	if len(c.Params) > 0 {
		fmt.Fprintf(w, "\n%s:\n", argumentWords(c))
		if err := printTable(w, c.Params, []column[catalogue.Param]{
			{"  name", func(p catalogue.Param) string { return "  " + p.Name }},
			{"type", func(p catalogue.Param) string { return p.Type }},
			{"", requiredWord},
			{"default", defaultWord},
			{"meaning", paramWords},
		}); err != nil {
			return err
		}
	}
	for _, note := range c.Notes {
		if _, err := fmt.Fprintf(w, "\nNote: %s\n", clean(note)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "\n%s\n", exampleOf(c))
	return err
}

var effectWords = map[catalogue.Effect]string{
	catalogue.Reads:    "reads",
	catalogue.Changes:  "changes something; asks first",
	catalogue.Destroys: "destroys what cannot be brought back; wants its id typed first",
}

var answerWords = map[string]string{
	"json": "JSON", "csv": "CSV; --output FILE keeps it", "file": "a file; needs --output FILE at a terminal", "html": "a page",
	"redirect": "a redirect; its target is printed", "frames": "frames, one line of JSON each, until --timeout",
}

// argumentWords says where arguments go, for those who write their own client.
func argumentWords(c *catalogue.Call) string {
	switch {
	case c.Method == "SOCKET":
		return "Arguments (sent as text when the socket is open)"
	case c.Arguments == "json":
		return "Arguments (in the path, or in a JSON body)"
	case c.Arguments == "query":
		return "Arguments (in the path, or in the query)"
	case c.Arguments != "":
		return "Arguments (in the path, or in a body of type " + c.Arguments + ")"
	}
	return "Arguments"
}

func requiredWord(p catalogue.Param) string {
	if p.Required {
		return "required"
	}
	return ""
}

func defaultWord(p catalogue.Param) string {
	if p.Default == nil {
		return ""
	}
	return fmt.Sprint(p.Default)
}

func paramWords(p catalogue.Param) string {
	words := p.Meaning()
	if len(p.Allowed) > 0 {
		words = strings.TrimSpace("one of " + strings.Join(p.Allowed, ", ") + "; " + words)
	}
	return strings.TrimSuffix(words, ";")
}

// exampleOf is a command line with every argument that is required.
func exampleOf(c *catalogue.Call) string {
	line := "erbridge api " + c.ID
	for _, p := range c.Params {
		if !p.Required {
			continue
		}
		value := strings.ToUpper(p.Name)
		switch {
		case len(p.Allowed) > 0:
			value = p.Allowed[0]
		case p.Type == "int":
			value = "1"
		case p.Type == "bool":
			value = "true"
		case p.Type == "file":
			value = "@FILE"
		case p.Type == "obj":
			value = "@FILE.json"
		case strings.HasPrefix(p.Type, "[int"):
			value = "1,2"
		}
		if strings.Contains(value, " ") {
			value = "'" + value + "'"
		}
		line += " " + p.Name + "=" + value
	}
	line += needed[c.ID]
	if c.Answer == "file" || c.Answer == "csv" {
		line += " --output FILE"
	}
	return line
}

// needed are arguments that the catalogue does not call required, because the server
// does without, and that erbridge wants nevertheless: it would be the wrong thing.
var needed = map[string]string{
	"alerts-update":          " resolve=true verdict=false",
	"distributed-add":        " nodes=HOST_IDENTIFIER",
	"v0-distributed-add":     " nodes=HOST_IDENTIFIER",
	"response-add":           " actuator_id=HOST_IDENTIFIER",
	"response-custom-action": " host_identifier=HOST_IDENTIFIER file=@FILE",
	"hosts-enable-bulk":      " node_ids=1,2",
	"hosts-delete-bulk":      " node_ids=1,2",
	"hosts-archive-bulk":     " node_ids=1,2",
}

// pathOf is the path with what it is below, where that is not the API v1.
func pathOf(c *catalogue.Call) string {
	if c.Base == catalogue.V0 {
		return "v0" + c.Path
	}
	return c.Path
}

func sectionNames() []string {
	var names []string
	for _, s := range catalogue.Sections() {
		names = append(names, s.Name)
	}
	return names
}

func callIDs() []string {
	var ids []string
	for _, s := range catalogue.Sections() {
		for i := range s.Calls {
			ids = append(ids, s.Calls[i].ID)
		}
	}
	return ids
}

// unknownCall says that there is no such id, and what was probably meant.
func unknownCall(id string) error {
	text := fmt.Sprintf("unknown call %q", id)
	if slices.Contains(sectionNames(), id) {
		return usagef("%s, but there is a section of that name: erbridge api list --section %s", text, id)
	}
	if near := registry.Near(id, callIDs(), 5); len(near) > 0 {
		return usagef("%s; did you mean %s?", text, strings.Join(near, ", "))
	}
	if near := registry.Near(id, sectionNames(), 3); len(near) > 0 {
		return usagef("%s; there are sections %s: erbridge api list --section %s", text, strings.Join(near, ", "), near[0])
	}
	return usagef("%s; all are in: erbridge api list", text)
}

func unknownSection(name string) error {
	text := fmt.Sprintf("unknown section %q", name)
	if near := registry.Near(name, sectionNames(), 3); len(near) > 0 {
		return usagef("%s; did you mean %s?", text, strings.Join(near, ", "))
	}
	return usagef("%s; there are %s", text, strings.Join(sectionNames(), ", "))
}
