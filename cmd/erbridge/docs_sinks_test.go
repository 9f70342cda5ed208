package main

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/guide"
)

// Every sink has a page with every section, every page has a sink, and every example
// is a configuration that loads.
func TestDocsSinksPages(t *testing.T) {
	if pages, types := guide.Types(), sinks.Types.Names(); !slices.Equal(pages, types) {
		t.Errorf("pages of %v, sinks of %v", pages, types)
	}
	for _, name := range sinks.Types.Names() {
		t.Run(name, func(t *testing.T) {
			g, err := guide.For(name)
			if err != nil {
				t.Fatal(err)
			}
			if g.Intro == "" {
				t.Error("the page does not say what the sink is for")
			}
			for _, title := range guide.Sections {
				if g.Section(title) == "" {
					t.Errorf("the page has no section %q", title)
				}
			}
			cfg, err := config.Parse(name+".yaml", []byte("server: {url: \"https://er.example.org\", username: u, password: {env: P}}\n"+g.Example()))
			if err != nil {
				t.Fatalf("the example: %v", err)
			}
			if len(cfg.Sinks) == 0 || cfg.Sinks[0].Type != name {
				t.Errorf("the example has no sink of type %s", name)
			}
			for line := range strings.Lines(g.Intro + "\n" + g.Section("Set up the receiver") + "\n" + g.Section("Errors")) {
				if n := len([]rune(strings.TrimRight(line, "\n"))); n > 130 {
					t.Errorf("a line of %d characters: %s", n, line)
				}
			}
		})
	}
}

// The page in the terminal holds every setting that the type has, with its default,
// and what goes for every sink.
func TestDocsSinks(t *testing.T) {
	for _, name := range sinks.Types.Names() {
		page := docsSinks(t, name)
		kind, _ := sinks.Types.Get(name)
		for _, settings := range []any{kind.Settings, new(sinks.CommonSettings)} {
			for _, f := range registry.Fields(reflect.ValueOf(settings).Elem()) {
				if !strings.Contains(page, "\n  "+f.Name+" (") {
					t.Errorf("%s: setting %s is not on the page; make generate brings the reference up to date", name, f.Name)
				}
			}
		}
		for _, title := range guide.Sections {
			if !strings.Contains(page, "\n"+strings.ToUpper(title)+"\n") {
				t.Errorf("%s: no section %q", name, title)
			}
		}
		for _, words := range []string{"Unless events says otherwise: ", "x509: certificate signed by unknown authority"} {
			if !strings.Contains(page, words) {
				t.Errorf("%s: the page does not have %q", name, words)
			}
		}
	}
	if page := docsSinks(t, "splunk"); !strings.Contains(page, "\n  source (text, default eclecticiq:er)\n      The source of the events.\n") ||
		!strings.Contains(page, "'.alert.severity | at_least(\"high\")'") {
		t.Errorf("settings of splunk are not as expected:\n%s", page)
	}
	if list := docsSinks(t); strings.Count(list, "\n") != len(sinks.Types.Names()) {
		t.Errorf("list:\n%s", list)
	}
}

func TestDocsSinksUnknown(t *testing.T) {
	cmd := newDocsSinks()
	cmd.SetArgs([]string{"splnk"})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "did you mean splunk?") {
		t.Errorf("error %v", err)
	}
}

func docsSinks(t *testing.T, types ...string) string {
	t.Helper()
	cmd := newDocsSinks()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs(append([]string{}, types...))
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
