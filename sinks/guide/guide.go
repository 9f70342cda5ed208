// Package guide holds what a person needs to know about each type of sink besides its
// settings: how the receiver is set up, what its errors mean, how it tells repeats.
package guide

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed *.md
var pages embed.FS

// common is the page about what holds for every sink.
const common = "common"

// Sections are the headings of every page, in their order. What stands in front of the
// first says what the sink is for.
var Sections = []string{"Set up the receiver", "Example", "What is delivered", "Errors", "Repeats", "Limits"}

// Page is the guide of a sink type, in Markdown: an introduction and Sections as
// headings of the second level.
type Page struct {
	Intro    string
	sections map[string]string
}

// Section is the text below a heading.
func (p *Page) Section(title string) string { return p.sections[title] }

// Example is the YAML of the section of that name: the part `sinks` of a configuration.
func (p *Page) Example() string {
	_, rest, _ := strings.Cut(p.sections["Example"], "```yaml\n")
	text, _, _ := strings.Cut(rest, "```")
	return text
}

// For reads the page of a sink type. The error wraps fs.ErrNotExist where there is none.
func For(sinkType string) (*Page, error) {
	text, err := fs.ReadFile(pages, sinkType+".md")
	if err != nil || sinkType == common {
		return nil, fmt.Errorf("no guide for sink type %q: %w", sinkType, fs.ErrNotExist)
	}
	return parse(string(text)), nil
}

// Common is what holds for every sink, by heading.
func Common() *Page {
	text, _ := fs.ReadFile(pages, common+".md") // embedded: it is there
	return parse(string(text))
}

// Types are the sink types that have a page.
func Types() []string {
	var types []string
	entries, _ := fs.ReadDir(pages, ".") // embedded: it is there
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), ".md"); name != common {
			types = append(types, name)
		}
	}
	slices.Sort(types)
	return types
}

func parse(text string) *Page {
	parts := strings.Split("\n"+text, "\n## ")
	p := &Page{Intro: strings.TrimSpace(parts[0]), sections: map[string]string{}}
	for _, part := range parts[1:] {
		title, body, _ := strings.Cut(part, "\n")
		p.sections[strings.TrimSpace(title)] = strings.TrimSpace(body)
	}
	return p
}
