//go:build pictures

package interop_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/freshetdev/freshet/interop/chromium"
)

// picturesIn is where the pictures go.
var picturesIn = flag.String("pictures", "../docs/images", "`directory` of the pictures")

// TestPictures takes the pictures of the documents from a freshet dev at work.
func TestPictures(t *testing.T) {
	b := newBoard(t, "--credentials", "120", "--lifetime", "90s")
	authURL := strings.Fields(b.dev.awaitMatch(t, `^  Authorization server`))[2]
	dir := t.TempDir()
	ledger := file(t, dir, "ledger.yaml", fmt.Sprintf(`providers:
  ledger:
    auth_url: %[1]s/authorize
    token_url: %[1]s/token
    client_id: dev
    client_secret: env://LEDGER_SECRET
    auth_style: basic
    limits: {concurrency: 8, rate: 5/s}
`, strings.TrimSuffix(authURL, ",")))
	var lines strings.Builder
	for _, account := range []string{"north/finance@example.com", "north/sales@example.com", "harbour/office@example.com"} {
		fmt.Fprintf(&lines, `{"provider":"ledger","account":%q,"refresh_token":"gone"}`+"\n", account)
	}
	grants := file(t, dir, "grants.jsonl", lines.String())
	b.env = append(b.env, "LEDGER_SECRET=dev-secret")
	b.freshet(t, "apply", "-f", ledger)
	b.freshet(t, "import", grants)
	b.dev.await(t, "somebody who has to agree again", func(line string) bool {
		return strings.Contains(line, "token.reauth_required") && strings.Contains(line, "ledger/")
	})
	paused, err := http.PostForm(b.at+"/lane", url.Values{"provider": {"ledger"}, "do": {"pause"}})
	if err != nil {
		t.Fatal(err)
	}
	paused.Body.Close()
	b.freshet(t, "pause", "demo/user-017")
	for name, shot := range map[string]struct {
		path          string
		width, height int64
		dark          bool
	}{
		"dashboard-light.png": {"/", 1200, 1000, false}, "dashboard-dark.png": {"/credentials?after=demo.user-112", 1200, 760, true},
	} {
		tab := chromium.Tab(t, b.browser)
		if shot.dark {
			if err := chromium.Dark(tab); err != nil {
				t.Fatal(err)
			}
		}
		do(t, tab, chromedp.EmulateViewport(shot.width, shot.height), chromedp.Navigate(b.at+shot.path))
		until(t, tab, `document.getElementById("live-state").textContent === "Live"`)
		keepPicture(t, tab, name)
	}
}

// file writes one and returns its path.
func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keepPicture writes a small PNG.
func keepPicture(t *testing.T, tab context.Context, name string) {
	t.Helper()
	data, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	shown, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, fewer(shown)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*picturesIn, name), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fewer is a picture with the 256 colours that it has most of.
func fewer(src image.Image) image.Image {
	counts := make(map[color.RGBA]int)
	for y := src.Bounds().Min.Y; y < src.Bounds().Max.Y; y++ {
		for x := src.Bounds().Min.X; x < src.Bounds().Max.X; x++ {
			counts[color.RGBAModel.Convert(src.At(x, y)).(color.RGBA)]++
		}
	}
	dst := image.NewPaletted(src.Bounds(), mostOf(counts))
	draw.Draw(dst, dst.Bounds(), src, src.Bounds().Min, draw.Src)
	return dst
}

func mostOf(counts map[color.RGBA]int) color.Palette {
	all := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int { return cmp.Compare(counts[b], counts[a]) })
	var p color.Palette
	for _, c := range all[:min(len(all), 256)] {
		p = append(p, c)
	}
	return p
}
