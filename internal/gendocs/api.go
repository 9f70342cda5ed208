package gendocs

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/erbridge/erbridge/connector/catalogue"
)

// apiPage is the reference of the server's API, out of the catalogue.
func apiPage() *page {
	p := newPage("The server's API", `Every call of the server's API that is documented, by section. The id is what `+"`erbridge api ID`"+` takes, and what metrics and the
simulator call it; [docs/howto/api.md](../howto/api.md) is the guide. The client's methods are those of the package `+"`connector`"+`.

*Edition* is empty for calls that every edition has. *Release* is the first that has the call, and the last if release 4.0 gave it up; what the
guides leave out is known from the public source of releases 2.1.2, 3.5.1 and 4.0. *Role* is what release 4.0 asks for; earlier ones have no roles.
A call that *destroys* cannot be taken back. Arguments that are required are in bold; a path is below `+"`/esp-ui/services/api/v1`"+` in releases
from 3.5 on, and below `+"`/services/api/v1`"+` before.`)
	p.printf("\n| section | calls |\n|---|---|\n")
	for _, s := range catalogue.Sections() {
		p.printf("| [%s](#%s) | %d |\n", s.Title, anchor(s.Title), len(s.Calls))
	}
	for _, s := range catalogue.Sections() {
		p.head(2, s.Title)
		p.printf("| id | call | edition | release | role | effect | client |\n|---|---|---|---|---|---|---|\n")
		for i := range s.Calls {
			c := &s.Calls[i]
			p.printf("| [`%s`](#%s) | `%s %s` | %s | %s | %s | %s | %s |\n", c.ID, anchor(c.ID), c.Method, basePath(c), titled(c.Edition), releases(c),
				role(c), c.Effect, methods(c))
		}
		for i := range s.Calls {
			p.call(&s.Calls[i])
		}
	}
	return p
}

// call writes what there is to say about one call.
func (p *page) call(c *catalogue.Call) {
	p.head(3, "`"+c.ID+"`")
	text := strings.ToUpper(c.Summary[:1]) + c.Summary[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	if words := answers[c.Answer]; words != "" {
		text += " " + words
	}
	p.printf("%s\n", text)
	if len(c.Secrets) > 0 {
		p.printf("\nSecrets in the answer: `%s`.\n", strings.Join(c.Secrets, "`, `"))
	}
	for i, note := range c.Notes {
		if i == 0 {
			p.printf("\n")
		}
		p.printf("- %s\n", note)
	}
	if len(c.Params) == 0 {
		return
	}
	p.printf("\n| argument | type | where | default | meaning |\n|---|---|---|---|---|\n")
	for _, a := range c.Params {
		name := "`" + a.Name + "`"
		if a.Required {
			name = "**" + name + "**"
		}
		initial := ""
		if a.Default != nil {
			initial = fmt.Sprintf("`%v`", a.Default)
		}
		meaning := a.Meaning()
		if len(a.Allowed) > 0 {
			meaning = strings.TrimSuffix("`"+strings.Join(a.Allowed, "`, `")+"`; "+meaning, "; ")
		}
		p.printf("| %s | %s | %s | %s | %s |\n", name, argumentTypes[a.Type], where(c, &a), initial, cell(meaning))
	}
}

var answers = map[string]string{
	"csv": "Answers with CSV.", "file": "Answers with a file.", "html": "Answers with a page.", "redirect": "Answers with a redirect.",
	"frames": "Sends frames of JSON.",
}

var argumentTypes = map[string]string{
	"str": "text", "int": "whole number", "bool": "true or false", "obj": "JSON object", "file": "file", "[str]": "list of texts", "[int]": "list of whole numbers",
}

func where(c *catalogue.Call, a *catalogue.Param) string {
	switch {
	case c.Method == "SOCKET":
		return "first frame"
	case a.In != "":
		return a.In
	}
	if c.Arguments == "json" {
		return "body"
	}
	return c.Arguments
}

func basePath(c *catalogue.Call) string {
	if c.Base == catalogue.V0 {
		return "/v0" + c.Path
	}
	return c.Path
}

func titled(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
}

func releases(c *catalogue.Call) string {
	if c.Until != "" {
		return c.Since + " to " + c.Until
	}
	return "since " + c.Since
}

func role(c *catalogue.Call) string {
	if c.Open {
		return "no login"
	}
	return cmp.Or(c.Role, "any")
}

func methods(c *catalogue.Call) string { return "`" + strings.Join(c.Client, "`, `") + "`" }

// anchor is how Markdown renderers name a heading.
func anchor(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
			return r
		}
		return -1
	}, strings.ToLower(title))
}
