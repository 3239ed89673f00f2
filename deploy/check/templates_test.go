package check_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"sigs.k8s.io/yaml"
)

// tagged is what goreleaser's templates say of a tag of ours, and of the artifact that an archive is made for.
var tagged = map[string]any{
	"ProjectName": "freshet", "Tag": "v1.2.3", "Version": "1.2.3", "CommitTimestamp": int64(1772366400), "CommitDate": "2026-03-01T12:00:00Z",
}

// goreleaserFields are the names that goreleaser, in the version that go.mod pins, gives to templates. The package that has them cannot
// be imported: its sources are read.
func goreleaserFields(t *testing.T) map[string]bool {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/goreleaser/goreleaser/v2").Output()
	must(t, err)
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "internal", "tmpl", "tmpl.go"), nil, 0)
	must(t, err)
	fields := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.ValueSpec); ok {
			for _, v := range s.Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					name, err := strconv.Unquote(lit.Value)
					must(t, err)
					fields[name] = true
				}
			}
		}
		return true
	})
	if !fields["ReleaseNotes"] || !fields["Arch"] {
		t.Fatalf("goreleaser has its fields elsewhere: %v", fields)
	}
	return fields
}

// expand is what a template of the configuration becomes.
func expand(text string, fields map[string]any) (string, error) {
	tmpl, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = tmpl.Execute(&out, fields)
	return out.String(), err
}

// eachTemplate calls fn for every text with a template in it, with the path to it.
func eachTemplate(path string, value any, fn func(path, text string)) {
	switch v := value.(type) {
	case string:
		if strings.Contains(v, "{{") {
			fn(path, v)
		}
	case []any:
		for _, below := range v {
			eachTemplate(path, below, fn)
		}
	case map[string]any:
		for name, below := range v {
			eachTemplate(path+"."+name, below, fn)
		}
	}
}

// Every template has a value, and goreleaser knows each field of ours by its name.
func TestReleaseTemplatesHaveValues(t *testing.T) {
	t.Parallel()
	known := goreleaserFields(t)
	archive := map[string]any{"Os": "linux", "Arch": "arm64"}
	for name, value := range tagged {
		archive[name] = value
	}
	for name := range archive {
		if !known[name] {
			t.Errorf("goreleaser has no field %s", name)
		}
	}
	data, err := os.ReadFile(filepath.Join(root, ".goreleaser.yaml"))
	must(t, err)
	var all map[string]any
	must(t, yaml.Unmarshal(data, &all))
	found := 0
	eachTemplate("", all, func(path, text string) {
		found++
		fields := tagged
		if path == ".archives.name_template" {
			fields = archive
		}
		got, err := expand(text, fields)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if strings.HasSuffix(path, "mtime") {
			_, err := time.Parse(time.RFC3339, got)
			must(t, err)
		}
	})
	if found < 10 {
		t.Errorf("%d templates", found)
	}
}

// What is released under one tag has names of its own, and says which version it is.
func TestReleaseNamesWhatItMakes(t *testing.T) {
	t.Parallel()
	p := readRelease(t)
	names := make(map[string]bool)
	for _, system := range p.Builds[0].Goos {
		for _, arch := range p.Builds[0].Goarch {
			fields := map[string]any{"ProjectName": p.ProjectName, "Version": "1.2.3", "Os": system, "Arch": arch}
			name, err := expand(p.Archives[0].NameTemplate, fields)
			must(t, err)
			names[name] = true
		}
	}
	if want := len(p.Builds[0].Goos) * len(p.Builds[0].Goarch); len(names) != want || !names["freshet_1.2.3_linux_amd64"] {
		t.Errorf("archives %v, want %d", names, want)
	}
	for _, b := range p.Builds {
		flags, err := expand(b.Ldflags[0], tagged)
		must(t, err)
		stamp, err := expand(b.ModTimestamp, tagged)
		must(t, err)
		if !strings.HasSuffix(flags, ".version=v1.2.3") || stamp != fmt.Sprint(tagged["CommitTimestamp"]) {
			t.Errorf("%s: %s, %s", b.ID, flags, stamp)
		}
	}
	if tag, err := expand(p.DockersV2[0].Tags[0], tagged); err != nil || tag != "1.2.3" { // the chart's appVersion has no v either
		t.Errorf("image %s, %v", tag, err)
	}
}
