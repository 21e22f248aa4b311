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
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				for _, name := range fieldNames(call) {
					used[name] = files.Position(call.Pos())
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

// fieldNames are the names in a call of a logger's method, or of a function that makes an
// attribute.
func fieldNames(call *ast.CallExpr) (names []string) {
	function, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	args := call.Args
	step := 2
	switch pkg, _ := function.X.(*ast.Ident); function.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
		args = args[min(1, len(args)):]
	case "With":
	case "String", "Int", "Int64", "Uint64", "Float64", "Bool", "Duration", "Time", "Any":
		if pkg == nil || pkg.Name != "slog" {
			return nil
		}
		step = len(args)
	default:
		return nil
	}
	for i := 0; i < len(args); i += step {
		if literal, ok := args[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if name, err := strconv.Unquote(literal.Value); err == nil {
				names = append(names, name)
			}
		}
	}
	return names
}
