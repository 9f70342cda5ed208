package lint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/playbooks/lint"
)

// Whatever the loader and the actions complain about has a code of lint: the words
// that they use are read out of their sources.
func TestEveryWordOfTheLoaderHasACode(t *testing.T) {
	words := map[string]string{}
	for _, folder := range []string{"..", "../actions", "../../internal/registry"} {
		fset := token.NewFileSet()
		paths, err := filepath.Glob(folder + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			problemCodes(file, func(word string) { words[word] = path })
		}
	}
	for _, word := range []string{"yaml", "unknown-key", "jq", "unknown-step", "unknown-argument", "plain-secret", "missing"} {
		if words[word] == "" {
			t.Errorf("the word %s was not found in the sources: is the test looking in the right place?", word)
		}
	}
	for _, word := range []string{"argument", "wrong-host", "setting"} {
		delete(words, word) // the loader puts another in its place before anybody sees it
	}
	for word, path := range words {
		if rule, ok := lint.Lookup(word); !ok {
			t.Errorf("%s: problems %q have no code", path, word)
		} else if strings.EqualFold(rule.Code, word) {
			t.Errorf("%s: %q is a code of lint", path, word)
		}
	}
}

// problemCodes calls found for each code of a registry.Problem that a file makes:
// Addf(at, "code", ...), Code: "code", problem.Code = "code", unknownWord(at, "code",
// ...), and the tables and functions that hold nothing but codes.
func problemCodes(file *ast.File, found func(string)) {
	text := func(x ast.Expr) {
		if lit, ok := x.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if word, err := strconv.Unquote(lit.Value); err == nil && word != "" {
				found(word)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			switch fun := n.Fun.(type) {
			case *ast.SelectorExpr:
				if fun.Sel.Name == "Addf" && len(n.Args) > 2 {
					text(n.Args[1])
				}
			case *ast.Ident:
				if fun.Name == "unknownWord" && len(n.Args) > 2 {
					text(n.Args[1])
				}
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
				text(n.Value)
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if s, ok := left.(*ast.SelectorExpr); ok && s.Sel.Name == "Code" && i < len(n.Rhs) {
					text(n.Rhs[i])
				}
			}
		case *ast.ValueSpec:
			if len(n.Names) == 1 && n.Names[0].Name == "argumentCodes" {
				for _, pair := range n.Values[0].(*ast.CompositeLit).Elts {
					text(pair.(*ast.KeyValueExpr).Value)
				}
			}
		case *ast.FuncDecl:
			if n.Name.Name != "referenceCode" {
				return true
			}
			ast.Inspect(n.Body, func(n ast.Node) bool {
				if r, ok := n.(*ast.ReturnStmt); ok {
					text(r.Results[0])
				}
				return true
			})
		}
		return true
	})
}
