// Package arch keeps the arrows between packages as docs/architecture.md draws them.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/erbridge/erbridge/"

// arrows says what each package may import of this module. A package that is not
// named here, or an import that is not in its list, fails the test: add it only
// with a reason that belongs into docs/decisions.
var arrows = map[string][]string{
	// The words; only the standard library beside them.
	"internal/soar":     {},
	"internal/registry": {"internal/soar"},
	"internal/jq":       {"internal/soar", "internal/registry"},

	// The list of the server's calls.
	"connector/catalogue":     {},
	"connector/catalogue/gen": {"connector/catalogue"},

	// The parts. None of them knows another.
	"connector":         {"connector/catalogue", "internal/soar", "internal/registry", "internal/jq"},
	"playbooks":         {"internal/soar", "internal/registry", "internal/jq", "internal/schedule", "playbooks/guard"},
	"playbooks/guard":   {"internal/soar", "internal/registry", "internal/jq"},
	"playbooks/library": {},
	"sinks":             {"internal/soar", "internal/registry", "internal/jq", "internal/schedule", "sinks/format"},
	"sinks/format":      {"internal/soar"},
	"internal/store":    {"internal/soar", "internal/registry"},
	"internal/console":  {"internal/soar"},
	"internal/evidence": {"internal/soar"},
	"internal/scripts":  {"internal/soar", "internal/registry"},
	"internal/redact":   {"internal/soar"},
	"internal/schedule": {},

	// The only package beside the daemon that joins engine and store: a test of a playbook is a small daemon.
	"playbooks/playtest": {"playbooks", "playbooks/guard", "internal/store", "internal/soar", "internal/registry"},

	// The only package that knows engine and server.
	"playbooks/actions": {"playbooks", "playbooks/guard", "connector", "internal/evidence", "internal/scripts", "internal/soar", "internal/registry", "internal/jq"},

	// What other formats of playbooks are made of ours, and ours of them: text in, text out.
	"playbooks/cacao": {"internal/registry"},

	// What judges playbooks without running them.
	"playbooks/lint": {"playbooks", "internal/soar", "internal/registry", "internal/jq"},

	// What stands in for the outside world.
	"connector/ersim":          {"internal/soar"},
	"sinks/guide":              {},
	"sinks/sinksim":            {"internal/soar"},
	"internal/store/storetest": {"internal/store", "internal/soar"},
	"sinks/sinktest":           {"sinks", "sinks/sinksim", "internal/soar", "internal/registry"},

	// What puts the parts together.
	"internal/config": {"internal/soar", "internal/registry", "internal/jq", "internal/evidence", "internal/redact", "connector", "sinks", "playbooks/guard", "playbooks/library"},
	"internal/daemon": {"internal/soar", "internal/registry", "internal/config", "internal/store", "internal/console", "internal/evidence", "internal/scripts",
		"internal/redact", "internal/jq", "connector", "playbooks", "playbooks/actions", "playbooks/guard", "playbooks/library", "sinks"},
	"internal/doctor": {"internal/soar", "internal/config", "connector", "connector/catalogue"},
	"internal/gendocs": {"internal/soar", "internal/registry", "internal/config", "internal/daemon", "internal/jq", "connector",
		"connector/catalogue", "sinks", "playbooks", "playbooks/actions", "playbooks/library", "playbooks/lint", "playbooks/playtest"},
	"internal/gendocs/cmd": {"internal/gendocs"},
	"cmd/erbridge": {"internal/soar", "internal/registry", "internal/config", "internal/console", "internal/daemon", "internal/doctor", "internal/evidence", "internal/redact", "internal/store", "internal/jq",
		"connector", "connector/catalogue", "connector/ersim", "playbooks", "playbooks/actions", "playbooks/cacao", "playbooks/guard", "playbooks/library", "playbooks/lint", "playbooks/playtest", "sinks", "sinks/guide", "sinks/sinksim", "docs/reference"},
}

// stdlibOnly are the packages that must not import another module either.
var stdlibOnly = []string{"internal/soar", "sinks/format"}

func TestArrows(t *testing.T) {
	seen := map[string]bool{}
	for pkg, imports := range readImports(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") }) {
		seen[pkg] = true
		if strings.HasPrefix(pkg, "internal/testenv") || strings.HasPrefix(pkg, "internal/crashtest") || strings.HasPrefix(pkg, "scripts/") || len(imports) == 0 {
			continue
		}
		allowed, known := arrows[pkg]
		for file, paths := range imports {
			for _, path := range paths {
				inside, ours := strings.CutPrefix(path, module)
				switch {
				case ours && !known:
					t.Errorf("%s imports %s: package %s is not in the picture", file, inside, pkg)
				case ours && !slices.Contains(allowed, inside):
					t.Errorf("%s imports %s: there is no arrow from %s to it", file, inside, pkg)
				case !ours && strings.Contains(strings.Split(path, "/")[0], ".") && slices.Contains(stdlibOnly, pkg):
					t.Errorf("%s imports %s: %s uses the standard library only", file, path, pkg)
				}
			}
		}
	}
	for _, pkg := range []string{"internal/soar", "internal/registry", "connector", "playbooks", "sinks"} {
		if !seen[pkg] {
			t.Errorf("package %s was not read: is the test looking in the right place?", pkg)
		}
	}
}

// No code of the product drags in what belongs to tests.
func TestProductDoesNotImportTesting(t *testing.T) {
	for pkg, imports := range readImports(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") }) {
		if strings.HasSuffix(pkg, "test") || strings.HasPrefix(pkg, "internal/testenv") {
			continue
		}
		for file, paths := range imports {
			for _, path := range paths {
				if path == "testing" || strings.HasPrefix(path, "testing/") || strings.HasPrefix(path, "net/http/httptest") {
					t.Errorf("%s imports %s", file, path)
				}
			}
		}
	}
}

// readImports maps package folder to file to the paths it imports.
func readImports(t *testing.T, wanted func(name string) bool) map[string]map[string][]string {
	t.Helper()
	root := filepath.Join("..", "..")
	all := map[string]map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (name == "testdata" || name == "tools" || strings.HasPrefix(name, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || !wanted(path) {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		if all[pkg] == nil {
			all[pkg] = map[string][]string{}
		}
		for _, spec := range parsed.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all[pkg][rel] = append(all[pkg][rel], p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
