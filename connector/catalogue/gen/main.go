// Command gen writes the client's call table from the catalogue:
// go run ./connector/catalogue/gen
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strings"

	"github.com/erbridge/erbridge/connector/catalogue"
)

const file = "connector/calls_gen.go"

func main() {
	out := flag.String("out", ".", "folder of the module, or one to write to in its place")
	flag.Parse()
	if err := write(filepath.Join(*out, filepath.FromSlash(file))); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(name string) error {
	text, err := format.Source(table())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

func table() []byte {
	var b bytes.Buffer
	b.WriteString("// Code generated from connector/catalogue by make generate; DO NOT EDIT.\n\npackage connector\n\nimport \"net/http\"\n\n")
	b.WriteString("// The calls of the catalogue, by id.\nvar (\n")
	for _, section := range catalogue.Sections() {
		fmt.Fprintf(&b, "// %s\n", section.Title)
		for i := range section.Calls {
			c := &section.Calls[i]
			if c.Method == "SOCKET" {
				continue
			}
			fmt.Fprintf(&b, "%s = call{id: %q, method: http.Method%s, path: %q%s}\n",
				variable(c.ID), c.ID, c.Method[:1]+strings.ToLower(c.Method[1:]), c.Path, flags(c))
		}
		b.WriteString("\n")
	}
	b.WriteString(")\n")
	return b.Bytes()
}

func flags(c *catalogue.Call) string {
	var b strings.Builder
	switch c.Base {
	case catalogue.V0:
		b.WriteString(", base: baseV0")
	case catalogue.Server:
		b.WriteString(", base: baseServer")
	}
	for _, flag := range []struct {
		set  bool
		text string
	}{
		{c.Effect != catalogue.Reads, "effect: true"},
		{c.Enterprise(), "enterprise: true"},
		{c.Open, "open: true"},
		{c.Bare, "bare: true"},
		{c.One, "byID: true"},
		{c.Since != "2.1.2" && c.Since != "2.0" || c.Until != "", fmt.Sprintf("releases: %q", c.Availability())},
	} {
		if flag.set {
			b.WriteString(", " + flag.text)
		}
	}
	return b.String()
}

// variable makes the name of a call's variable: hosts-list becomes callHostsList.
func variable(id string) string {
	name := "call"
	for part := range strings.SplitSeq(id, "-") {
		name += strings.ToUpper(part[:1]) + part[1:]
	}
	return name
}
