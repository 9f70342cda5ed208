package sinks_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/sinks"
)

// Every type of sink is held to the contract: there is a Test<Type>...Contract that
// calls sinktest.Run.
func TestEveryTypeHasAContract(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var contracts []string // names of tests, in lower case
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && calls(f, "sinktest", "Run") {
				contracts = append(contracts, strings.ToLower(f.Name.Name))
			}
		}
	}
	for _, name := range sinks.Types.Names() {
		if !hasContract(contracts, name) {
			t.Errorf("type %s has no contract test: Test%s%sContract, which calls sinktest.Run", name, strings.ToUpper(name[:1]), name[1:])
		}
	}
	if hasContract(contracts, "carrierpigeon") {
		t.Error("a type that does not exist has a contract")
	}
}

func hasContract(contracts []string, name string) bool {
	for _, test := range contracts {
		if strings.HasPrefix(test, "test"+name) && strings.HasSuffix(test, "contract") {
			return true
		}
	}
	return false
}

// calls reports whether a function calls pkg.name.
func calls(f *ast.FuncDecl, pkg, name string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := selector.X.(*ast.Ident)
		found = found || ok && x.Name == pkg && selector.Sel.Name == name
		return true
	})
	return found
}
