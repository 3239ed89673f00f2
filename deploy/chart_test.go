package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/freshetdev/freshet/pkg/provider/providerfile"
)

// The chart's hook applies the providers of its values before anything is installed: what it would refuse, no example shows.
func TestProvidersOfTheChartsValuesCanBeApplied(t *testing.T) {
	t.Parallel()
	texts := map[string]string{"README.md": valuesOfThePage(t)}
	files, err := filepath.Glob("helm/freshet/ci/*-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(data)
	}
	tried := 0
	for name, text := range texts {
		var values struct {
			Apply struct{ Providers map[string]any }
		}
		if err := yaml.Unmarshal([]byte(text), &values); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(values.Apply.Providers) == 0 {
			continue
		}
		tried++
		// As templates/apply.yaml writes them.
		data, err := yaml.Marshal(map[string]any{"providers": values.Apply.Providers})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := providerfile.Parse(name, data); err != nil {
			t.Error(err)
		}
	}
	if tried < 3 {
		t.Errorf("%d files have providers", tried)
	}
}

// valuesOfThePage are those of the section on Kubernetes.
func valuesOfThePage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n```yaml\n")
	text, _, ok := strings.Cut(rest, "\n```\n")
	if !ok {
		t.Fatal("no values in README.md")
	}
	return text
}
