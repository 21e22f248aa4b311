// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The names of fields are a contract: each that any message of the program has stands in doc.go.
func TestFieldsAreDocumented(t *testing.T) {
	_, list, _ := strings.Cut(readFile(t, "doc.go"), "# Fields")
	documented := []string{"logger"}
	for _, match := range regexp.MustCompile(`(?m)^//\t([a-z]+) `).FindAllStringSubmatch(list, -1) {
		documented = append(documented, match[1])
	}
	used := map[string]token.Position{}
	files := token.NewFileSet()
	for _, root := range []string{"../../cmd", "../../internal"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				for _, name := range fieldNames(n) {
					used[name] = files.Position(n.Pos())
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(documented) < 10 || len(used) < 10 {
		t.Fatalf("%q are documented, %v used", documented, used)
	}
	for name, at := range used {
		if !slices.Contains(documented, name) {
			t.Errorf("%v: a message has the field %q, which internal/cli/doc.go does not list", at, name)
		}
	}
}

// fieldNames are the names in a call of a logger's method, in a list of fields, and in a call that
// makes an attribute.
func fieldNames(n ast.Node) (names []string) {
	var list []ast.Expr // of names and values
	switch n := n.(type) {
	case *ast.CompositeLit:
		if array, ok := n.Type.(*ast.ArrayType); ok && isIdent(array.Elt, "any") {
			list = n.Elts
		}
	case *ast.CallExpr:
		function, method := n.Fun.(*ast.SelectorExpr)
		switch {
		case method && isIdent(function.X, "slog"), method && function.Sel.Name == "With":
			list = n.Args
		case method && slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, function.Sel.Name):
			list = n.Args[min(1, len(n.Args)):]
		}
	}
	for i := 0; i+1 < len(list); i += 2 {
		if literal, ok := list[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if name, err := strconv.Unquote(literal.Value); err == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

func isIdent(e ast.Expr, name string) bool {
	ident, ok := e.(*ast.Ident)
	return ok && ident.Name == name
}
