package catalogue_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/provider/catalogue"
)

var update = flag.Bool("update", false, "write the presets into docs/providers.md")

// TestDocumentHasThePresets: docs/providers.md shows what is in the catalogue.
func TestDocumentHasThePresets(t *testing.T) {
	t.Parallel()
	const file, from, to = "../../../docs/providers.md", "<!-- presets -->\n", "<!-- end -->\n"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), from)
	have, tail, closed := strings.Cut(rest, to)
	if !ok || !closed {
		t.Fatal("the document has no place for the presets")
	}
	want := document(catalogue.All())
	if have == want {
		return
	}
	if !*update {
		t.Fatal("docs/providers.md is not what the catalogue says: go test ./pkg/provider/catalogue -update")
	}
	if err := os.WriteFile(file, []byte(head+from+want+to+tail), 0o600); err != nil {
		t.Fatal(err)
	}
}

func document(all []catalogue.Preset) string {
	var b strings.Builder
	b.WriteString("\n| preset | provider | rotation | a grant ends | params |\n|---|---|---|---|---|\n")
	for _, p := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", p.Name, p.Title, rotation(p), life(p.Definition.RefreshLife), params(p.Params))
	}
	b.WriteString("\nWhat to know before using one, and what its vendor leaves open:\n\n")
	for _, p := range all {
		var said []string
		for _, note := range p.Notes {
			said = append(said, strings.TrimSuffix(note, "."))
		}
		if len(p.Undocumented) > 0 {
			said = append(said, "Undocumented: "+strings.Join(p.Undocumented, "; "))
		}
		if len(said) > 0 {
			fmt.Fprintf(&b, "- `%s`: %s.\n", p.Name, strings.Join(said, ". "))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// rotation links a declared class to the page that says so.
func rotation(p catalogue.Preset) string {
	d := p.Definition
	if d.Rotation == "" {
		return "undocumented"
	}
	text := string(d.Rotation)
	if d.Rotation == provider.RotationGrace {
		text += " " + days(d.RotationGrace)
	}
	for _, s := range p.Sources {
		if s.Topic == catalogue.Rotation {
			return fmt.Sprintf("[%s](%s)", text, s.URL)
		}
	}
	return text
}

func life(l provider.RefreshLife) string {
	var parts []string
	if l.Idle > 0 {
		parts = append(parts, days(l.Idle)+" unused")
	}
	if l.Absolute > 0 {
		parts = append(parts, days(l.Absolute)+" after the login")
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}

func days(d provider.Duration) string {
	const day = 24 * time.Hour
	if t := time.Duration(d); t >= day && t%day == 0 {
		return fmt.Sprintf("%dd", t/day)
	}
	return fmt.Sprintf("%gm", time.Duration(d).Minutes())
}

func params(all []catalogue.Param) string {
	var parts []string
	for _, p := range all {
		text := "`" + p.Name + "`"
		if p.Default != "" {
			text += " (`" + p.Default + "`)"
		}
		parts = append(parts, text)
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}
