// Package freshet_test holds the rules of the house that no compiler checks: who may import whom, what the binaries
// link, and that everything public is explained.
package freshet_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/freshetdev/freshet/"

// The modules that rooms may bring in.
const (
	natsGo  = "github.com/nats-io/nats.go"
	natsSrv = "github.com/nats-io/nats-server/v2"
	oauth2  = "golang.org/x/oauth2"
	cron    = "github.com/robfig/cron/v3"
	zerolog = "github.com/rs/zerolog"
	flock   = "github.com/gofrs/flock"
	xsync   = "golang.org/x/sync"
	isatty  = "github.com/mattn/go-isatty"
	cobra   = "github.com/spf13/cobra"
	pflag   = "github.com/spf13/pflag"
	tink    = "github.com/tink-crypto/tink-go/v2"
	yaml    = "github.com/goccy/go-yaml"
	natsCtx = "github.com/synadia-io/orbit.go/natscontext"
	xsys    = "golang.org/x/sys"
	xnet    = "golang.org/x/net"
	qrCode  = "rsc.io/qr"
	jose    = "github.com/go-jose/go-jose/v4"
	goleak  = "go.uber.org/goleak"
	prom    = "github.com/prometheus/client_golang"
	otel    = "go.opentelemetry.io/otel"
)

// rooms are the packages from the bottom of the house to the top, each with the outside modules it may import. A package
// imports only rooms above it in this list.
var rooms = []struct {
	path    string
	outside []string
}{
	{"internal/sleep", nil},
	{"internal/flatjson", nil},
	{"internal/replace", nil},
	{"internal/page", nil},
	{"internal/coredump", []string{xsys}},
	{"pkg/events", []string{natsGo}},
	{"pkg/seal", []string{tink}},
	{"internal/assertion", []string{jose}},
	{"pkg/provider", []string{oauth2, cron}},
	{"pkg/provider/catalogue", nil},
	{"pkg/provider/providerfile", []string{yaml}},
	{"pkg/refresh", []string{oauth2, xnet}}, // not NATS, not zerolog
	{"pkg/tokens", []string{natsGo, oauth2}},
	{"internal/listen", []string{zerolog}},
	{"internal/discovery", nil},
	{"internal/permissions", nil},
	{"internal/audit", []string{natsGo}},
	{"internal/journal", []string{flock}},
	{"internal/socket", []string{flock}},
	{"internal/exchanger", []string{flock, xsys}},
	{"internal/agent", []string{zerolog, flock, xsync, xsys, yaml}},
	{"internal/credhelper", nil},
	{"internal/broker", []string{natsGo}},
	{"internal/schedule", []string{cron}},
	{"internal/telemetry", []string{prom, otel, zerolog}},
	{"internal/enroll", []string{oauth2}},
	{"internal/probe", nil},
	{"internal/rewrap", []string{xsync}},
	{"internal/backup", []string{xsync}},
	{"internal/authserver", nil},
	{"internal/embedded", []string{natsSrv, natsGo, flock}},
	{"internal/flags", []string{natsGo, zerolog, isatty, pflag, cobra, natsCtx}},
	{"internal/app", []string{zerolog, natsGo, xsync}},
	{"internal/dashboard", []string{zerolog, xsync}},
	{"internal/doctor", []string{natsGo}},
	{"internal/web", []string{zerolog, xsync}},
	{"internal/solo", []string{zerolog, xsync}},
	{"internal/fleet", []string{natsGo, xsync}},
	{"internal/evidence", []string{natsGo, xsync, zerolog}},
	{"internal/evidence/reader", []string{natsGo, oauth2}},
	{"internal/evidence/run", nil},
	{"cmd/scheduler", []string{cobra}},
	{"cmd/worker", []string{cobra}},
	{"cmd/freshet", []string{cobra, pflag, natsGo, isatty, qrCode, zerolog}},
	{"internal/certtest", nil},
	{"internal/flatjsontest", nil},
	{"internal/natstest", []string{natsSrv, natsGo, goleak}}, // the last: only tests import it
}

type goPackage struct {
	ImportPath, Dir, Doc string
	Imports, Deps        []string
	Standard             bool
}

// list asks the go command about packages of this module.
func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Doc,Imports,Deps,Standard"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p goPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	return all
}

func TestImportsGoOneWay(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		path := strings.TrimPrefix(p.ImportPath, module)
		if path+"/" == module {
			continue // this test
		}
		own := slices.IndexFunc(rooms, func(r struct {
			path    string
			outside []string
		}) bool {
			return r.path == path
		})
		if own < 0 {
			if len(p.Imports) > 0 {
				t.Errorf("%s has no place in the house: add it to rooms, below what it imports", path)
			}
			continue
		}
		for _, imp := range p.Imports {
			if fault := importFault(own, imp); fault != "" {
				t.Errorf("%s imports %s: %s", path, imp, fault)
			}
		}
	}
}

// TestEveryRoomIsOnThePage: whoever reads docs/architecture.md finds each package there, one below another by its last name.
func TestEveryRoomIsOnThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string) bool { return strings.Contains(string(page), "`"+name+"`") }
	for _, r := range rooms {
		below := named(filepath.Dir(r.path)) && named(filepath.Base(r.path))
		if !named(r.path) && !below && !strings.HasPrefix(r.path, "cmd/") {
			t.Errorf("docs/architecture.md does not say what lives in %s", r.path)
		}
	}
}

// importFault says why the room may not import a path; "" when it may.
func importFault(own int, imp string) string {
	if inside, ok := strings.CutPrefix(imp, module); ok {
		for _, r := range rooms[:own] {
			if r.path == inside {
				return ""
			}
		}
		return "it is not above it"
	}
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		return "" // standard library
	}
	for _, m := range rooms[own].outside {
		if imp == m || strings.HasPrefix(imp, m+"/") {
			return ""
		}
	}
	return "this module is not for this room"
}

// TestOnlyBrokersSpeakJetStream keeps JetStream's API in two places: the broker and the events' streams.
func TestOnlyBrokersSpeakJetStream(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		path := strings.TrimPrefix(p.ImportPath, module)
		if slices.Contains(p.Imports, natsGo+"/jetstream") && path != "internal/broker" && path != "pkg/events" {
			t.Errorf("%s imports jetstream", path)
		}
	}
}

// TestSmallBinariesStaySmall: what only the freshet command needs is linked by nobody else.
func TestSmallBinariesStaySmall(t *testing.T) {
	t.Parallel()
	bad := map[string]string{
		natsSrv + "/server":               "the embedded server is for freshet dev and run",
		yaml:                              "providers files are read by freshet apply and run",
		module + "pkg/provider/catalogue": "presets are for freshet apply and providers; what workers get is complete",
		module + "internal/authserver":    "the local authorization server is for freshet dev",
		module + "internal/agent":         "tokens for other programs are given out by freshet agent",
		module + "internal/solo":          "everything in one process is for freshet dev and run",
		module + "internal/enroll":        "enrolment is for people",
		module + "internal/probe":         "probes are for people",
		module + "internal/web":           "pages are for people",
		module + "internal/dashboard":     "pages are for people",
		qrCode:                            "only freshet login draws codes",
		module + "internal/fleet":         "the processes under test are not part of the product",
		module + "internal/natstest":      "test servers are for tests",
		module + "internal/flatjsontest":  "it is for tests",
		"net/http/httptest":               "test servers are for tests",
	}
	for _, p := range list(t, "./cmd/scheduler", "./cmd/worker", "./pkg/events", "./pkg/seal", "./pkg/provider", "./pkg/refresh", "./pkg/tokens") {
		for _, dep := range p.Deps {
			if why, ok := bad[dep]; ok {
				t.Errorf("%s links %s: %s", p.ImportPath, dep, why)
			}
		}
	}
	if deps := list(t, "./cmd/freshet")[0].Deps; !slices.Contains(deps, natsSrv+"/server") {
		t.Error("freshet does not link the server: this test looks for the wrong path")
	}
}

// TestLibrariesLeaveTelemetryToPrograms: whoever imports pkg/ chooses metrics and tracing, and pays for no other.
func TestLibrariesLeaveTelemetryToPrograms(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./pkg/...") {
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, prom) || strings.HasPrefix(dep, otel) {
				t.Errorf("%s links %s", p.ImportPath, dep)
			}
		}
	}
	for _, p := range list(t, "./cmd/scheduler", "./cmd/worker", "./cmd/freshet") {
		if !slices.Contains(p.Deps, prom+"/prometheus") || !slices.Contains(p.Deps, otel+"/sdk/trace") {
			t.Errorf("%s shows nothing: this test looks for the wrong path", p.ImportPath)
		}
		if slices.Contains(p.Deps, "google.golang.org/grpc") {
			t.Errorf("%s links gRPC, six megabytes: spans are sent as JSON over HTTP", p.ImportPath)
		}
	}
}

func TestEveryPackageIsExplained(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		if p.Doc == "" && p.ImportPath+"/" != module && !testsOnly(t, p.Dir) {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

func testsOnly(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return !slices.ContainsFunc(files, func(f string) bool { return !strings.HasSuffix(f, "_test.go") })
}

// The sizes that a reader can hold in the head.
const (
	maxFunction = 70
	maxFile     = 500
)

func TestSourcesStayReadable(t *testing.T) {
	t.Parallel()
	eachSource(t, func(path string, fset *token.FileSet, f *ast.File) {
		if n := fset.File(f.Pos()).LineCount(); n > maxFile {
			t.Errorf("%s has %d lines, more than %d", path, n, maxFile)
		}
		for _, d := range f.Decls {
			for _, fault := range declFaults(fset, d) {
				t.Errorf("%s: %s", path, fault)
			}
		}
	})
}

// declFaults finds functions that are too long and exported names without a comment.
func declFaults(fset *token.FileSet, d ast.Decl) (faults []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if n := fset.Position(d.End()).Line - fset.Position(d.Pos()).Line; n > maxFunction {
			faults = append(faults, fmt.Sprintf("%s has %d lines, more than %d", d.Name, n, maxFunction))
		}
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
			faults = append(faults, d.Name.Name+" has no comment")
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			faults = append(faults, specFaults(d, s)...)
		}
	}
	return faults
}

func specFaults(d *ast.GenDecl, s ast.Spec) (faults []string) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
			faults = append(faults, s.Name.Name+" has no comment")
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				faults = append(faults, n.Name+" has no comment")
			}
		}
	}
	return faults
}

// exportedReceiver is false for methods that nobody outside can call by name.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	exported := false
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		exported = exported || ok && id.IsExported()
		return !ok
	})
	return exported
}

// eachSource parses every Go file of the module that is not a test.
func eachSource(t *testing.T, fn func(path string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	eachFile(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		fn(path, fset, f)
	})
}

func eachFile(t *testing.T, fn func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") && d.Name() != ".ci":
			return filepath.SkipDir
		case d.Type().IsRegular():
			fn(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTestsWaitForEvents: a test that sleeps in real time is slow on one machine and wrong on another.
func TestTestsWaitForEvents(t *testing.T) {
	t.Parallel()
	sleeps, virtual := make(map[string]string), make(map[string]bool)
	eachFile(t, func(path string) {
		if !strings.HasSuffix(path, "_test.go") || path == "architecture_test.go" {
			return
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(path)
		if strings.Contains(string(data), "time.Sleep(") {
			sleeps[dir] = path
		}
		virtual[dir] = virtual[dir] || strings.Contains(string(data), `"testing/synctest"`) || strings.Contains(string(data), "natstest.Bubble(")
	})
	for dir, path := range sleeps {
		if !virtual[dir] {
			t.Errorf("%s sleeps in real time: wait for the event, or use testing/synctest", path)
		}
	}
}

func TestModuleStandsAlone(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "\nreplace ") {
		t.Error("go.mod has a replace: users would not get what we test")
	}
}
