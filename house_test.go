// Package restante_test holds the tests that guard the house: which package may know which, and what must be written
// down.
package restante_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/restante-im/restante"

// room is what a package may know: packages of lower levels, and these third-party modules or packages.
type room struct {
	level      int
	thirdParty []string
}

const geth = "github.com/ethereum/go-ethereum/"

// house is the table of docs/architecture.md. A package below another's folder may import its parent.
var house = map[string]room{
	"internal/envelope":   {0, []string{geth + "rlp", "github.com/cloudflare/circl/simd", "golang.org/x/sys/cpu"}},
	"internal/fault":      {0, nil},
	"internal/health":     {0, nil},
	"internal/nodeaddr":   {0, []string{geth + "p2p/enode", geth + "p2p/enr", geth + "crypto"}},
	"internal/message":    {1, []string{geth + "crypto", geth + "common/math", "github.com/decred/dcrd/dcrec/secp256k1/v4", "golang.org/x/crypto"}},
	"internal/keyring":    {2, []string{geth + "crypto", "golang.org/x/crypto"}},
	"internal/wire":       {1, []string{geth + "rlp"}},
	"internal/archive":    {1, nil},
	"internal/mail1":      {1, []string{geth + "rlp"}},
	"internal/members":    {2, nil},
	"internal/gossip":     {3, nil},
	"internal/filter":     {3, nil},
	"internal/session":    {3, []string{geth + "rlp"}},
	"internal/coverage":   {1, nil},
	"internal/watch":      {2, nil},
	"internal/vault":      {2, []string{"github.com/zalando/go-keyring", "golang.org/x/crypto"}},
	"internal/history":    {2, nil},
	"internal/directory":  {3, nil},
	"internal/outbox":     {3, nil},
	"internal/catchup":    {4, nil},
	"internal/store":      {4, []string{"github.com/ncruces/go-sqlite3"}},
	"internal/inbox":      {5, nil},
	"internal/mailserver": {3, nil},
	"internal/relay":      {4, nil},
	"internal/mailnet":    {4, nil},
	"internal/devp2p":     {4, []string{geth + "p2p", geth + "crypto", geth + "log", geth + "rlp", "golang.org/x/net/proxy"}},
	"internal/node":       {7, []string{geth + "crypto"}},
	"internal/rpc":        {6, []string{geth + "rpc", geth + "common/hexutil", "github.com/gorilla/websocket"}},
	"internal/ops":        {5, []string{"github.com/prometheus/client_golang"}},
	"internal/sim":        {5, nil},
	"internal/config":     {6, []string{"github.com/pelletier/go-toml/v2"}},
	"internal/cli":        {8, []string{"github.com/spf13/cobra", "golang.org/x/term", "rsc.io/qr"}},
	"cmd/restante":        {9, nil},
	"bench":               {9, nil},

	"internal/archive/segment":         {2, []string{"golang.org/x/sys"}},
	"internal/archive/segment/slindex": {1, nil},
	"internal/archive/stream":          {2, []string{geth + "rlp"}},
	"internal/rpc/legacy":              {5, []string{geth + "rpc", geth + "common/hexutil"}},
	"internal/sim/agenda":              {0, nil},
	"internal/sim/mailsim":             {5, []string{geth + "crypto"}},

	// Helpers of tests and benchmarks; no program for users imports them.
	"internal/archive/mem":         {2, nil},
	"internal/archive/archivetest": {3, []string{"github.com/cockroachdb/pebble", "pgregory.net/rapid", "github.com/google/go-cmp"}},
	"internal/corpus":              {2, []string{geth + "rlp"}},
	"internal/vectortest":          {0, nil},
	"internal/session/sessiontest": {4, nil},
	"internal/store/storetest":     {5, []string{"github.com/ncruces/go-sqlite3"}},
	"test/peers/peerproc":          {0, nil},
}

// onlyIn names third-party packages that a single package may import.
var onlyIn = map[string][]string{
	geth + "p2p":                           {"internal/devp2p"},
	"github.com/spf13/cobra":               {"internal/cli"},
	"rsc.io/qr":                            {"internal/cli"},
	"github.com/ncruces/go-sqlite3":        {"internal/store", "internal/store/storetest"},
	"github.com/zalando/go-keyring":        {"internal/vault"},
	"github.com/gorilla/websocket":         {"internal/rpc"},
	"github.com/cockroachdb/pebble":        {"internal/archive/archivetest"},
	"github.com/prometheus/client_golang":  {"internal/ops"},
	"github.com/pelletier/go-toml/v2":      {"internal/config"},
	"github.com/cloudflare/circl":          {"internal/envelope"},
	"github.com/decred/dcrd/dcrec":         {"internal/message"},
	"github.com/ethereum/go-ethereum/rpc":  {"internal/rpc", "internal/rpc/legacy"},
	"github.com/ethereum/go-ethereum/node": {},
}

type goPackage struct {
	ImportPath  string
	Dir         string
	Imports     []string
	GoFiles     []string
	TestGoFiles []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			list = append(list, p)
		}
	}
}

func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
}

func TestArrowsPointDownward(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		from, ok := house[name]
		if !ok {
			t.Errorf("%s has no room in the house: add it to the table here and in docs/architecture.md", name)
			continue
		}
		for _, path := range p.Imports {
			if own, ok := strings.CutPrefix(path, module+"/"); ok {
				to := house[own]
				if to.level > 0 && to.level >= from.level && !within(name, own) {
					t.Errorf("%s (level %d) imports %s (level %d): arrows point downward", name, from.level, own, to.level)
				}
				if strings.HasSuffix(own, "test") && !strings.HasPrefix(name, "internal/") {
					t.Errorf("%s imports %s, which is for tests", name, own)
				}
				continue
			}
			if !strings.Contains(strings.Split(path, "/")[0], ".") {
				continue // the standard library
			}
			if !slices.ContainsFunc(from.thirdParty, func(allowed string) bool { return within(path, allowed) }) {
				t.Errorf("%s imports %s: the table does not allow it", name, path)
			}
			for rule, rooms := range onlyIn {
				if path == rule && !slices.Contains(rooms, name) {
					t.Errorf("%s imports %s, which only %v may", name, path, rooms)
				}
			}
		}
	}
}

func TestEveryRoomIsInArchitecture(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range house {
		if short := strings.TrimPrefix(name, "internal/"); !strings.Contains(string(text), "`"+short+"`") {
			t.Errorf("docs/architecture.md does not name `%s`", short)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		comments := 0
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil && len(f.Doc.Text()) > 0 {
				comments++
			}
		}
		if comments != 1 {
			t.Errorf("%s has %d package comments, want one", p.ImportPath, comments)
		}
	}
}

// TestQuirksDieInWire looks for names of dialects and of other people's programs in strings and identifiers.
func TestQuirksDieInWire(t *testing.T) {
	quirk := regexp.MustCompile(`(?i)\bshh/\d|\bwaku\b|waku/\d|\bgeth\b|status-?go|status-im|isStatus|nim-?eth|nwaku`)
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if name == "internal/wire" || strings.HasPrefix(name, "test/") || name == "bench" {
			continue
		}
		for _, file := range p.GoFiles {
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, filepath.Join(p.Dir, file), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				var text string
				switch n := n.(type) {
				case *ast.ImportSpec:
					return false
				case *ast.BasicLit:
					text = n.Value
				case *ast.Ident:
					text = n.Name
				}
				if quirk.MatchString(text) {
					t.Errorf("%s: %s: dialects and clients are wire's business", set.Position(n.Pos()), text)
				}
				return true
			})
		}
	}
}

func TestNoSleepsNoInitNoLongFiles(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "node_modules") {
			return errOrSkip(err)
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if lines := strings.Count(string(text), "\n"); lines > 500 {
			t.Errorf("%s has %d lines: split it", path, lines)
		}
		inspectFile(t, path, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func errOrSkip(err error) error {
	if err != nil {
		return err
	}
	return filepath.SkipDir
}

func inspectFile(t *testing.T, path string, text []byte) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if fn.Name.Name == "init" && fn.Recv == nil {
			t.Errorf("%s: init() hides an arrow", set.Position(fn.Pos()))
		}
		lines := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
		if lines > 60 && !strings.HasSuffix(path, "_test.go") {
			t.Errorf("%s: %s has %d lines: split it", set.Position(fn.Pos()), fn.Name.Name, lines)
		}
	}
	if strings.HasSuffix(path, "_test.go") {
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s: tests do not sleep", set.Position(n.Pos()))
				}
			}
			return true
		})
	}
}
