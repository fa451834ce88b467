package hostile_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryWeaknessHasItsTest reads docs/weaknesses.md: every known weakness has one row, which names tests that exist or
// the part that this version does not have.
func TestEveryWeaknessHasItsTest(t *testing.T) {
	text, err := os.ReadFile("../../docs/weaknesses.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	row := regexp.MustCompile(`^\| ([A-Z]\d+) \| (.+) \| (.+) \| (.+) \|$`)
	name := regexp.MustCompile("`(\\w+\\.(?:Test|Fuzz)\\w+)`")
	rows := map[string]int{}
	for line := range strings.Lines(string(text)) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| # |") {
				t.Errorf("not a row: %s", line)
			}
			continue
		}
		rows[m[1]]++
		named := name.FindAllStringSubmatch(m[4], -1)
		for _, n := range named {
			if !tests[n[1]] {
				t.Errorf("%s names %s, which does not exist", m[1], n[1])
			}
		}
		if len(named) == 0 && !strings.Contains(m[3], ": not part of this version") {
			t.Errorf("%s names no test and no part that is missing", m[1])
		}
	}
	for letter, count := range map[string]int{"W": 19, "C": 8, "R": 13, "T": 5, "P": 12, "A": 13, "Q": 4} {
		for i := range count {
			if id := fmt.Sprintf("%s%d", letter, i+1); rows[id] != 1 {
				t.Errorf("%s has %d rows, want one", id, rows[id])
			}
		}
	}
}

// testNames returns all tests and fuzz targets as "package.TestName", whatever their build tags.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, pattern := range []string{"../../internal/*/*_test.go", "../../internal/*/*/*_test.go", "../*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range f.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
					names[filepath.Base(filepath.Dir(file))+"."+fn.Name.Name] = true
				}
			}
		}
	}
	return names
}
