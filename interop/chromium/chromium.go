// Package chromium starts a headless Chromium for tests, to be driven with chromedp.
//
// # Model
//
// Start gives a test a browser of its own, with a profile that is thrown away; Tab opens a tab in it as another person would
// have it: with cookies and storage of its own. Nothing beyond this machine is reached. Both give contexts for chromedp.Do and Run, and end with their test.
//
// # Concurrency
//
// A browser may have any number of tabs at once; one tab does one thing at a time.
package chromium

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/freshetdev/freshet/interop/debian"
)

const (
	// installWithin bounds the installation, which downloads 100 MB.
	installWithin = 10 * time.Minute
	// tabWithin bounds all that a test does in one tab: what a page never shows is waited for as long.
	tabWithin = 3 * time.Minute
)

// Start starts a browser and waits until it takes commands. Where Chromium is missing it is installed.
func Start(t testing.TB) context.Context {
	t.Helper()
	installing, cancel := context.WithTimeout(t.Context(), installWithin)
	defer cancel()
	path, err := debian.Program(installing, "chromium", "chromium", "fonts-dejavu-core")
	if err != nil {
		t.Fatal(err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // which refuses to run as root, and the pages are our own
		chromedp.DisableGPU,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"), // fonts and such would be waited for
		chromedp.WindowSize(1000, 700),
	)
	// Not the test's own context: that ends before the clean-up that closes the browser.
	allocator, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop) // waits until the process has ended
	browser, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return browser
}

// Tab opens an empty tab that shares nothing with the browser's others.
func Tab(t testing.TB, browser context.Context) context.Context {
	t.Helper()
	tab, closeTab := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(closeTab)
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	tab, cancel := context.WithTimeout(tab, tabWithin)
	t.Cleanup(cancel)
	return tab
}

// NoScripts lets no page run scripts from now on.
func NoScripts(tab context.Context) error {
	_, err := chromedp.Call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	return err
}

// Dark makes the tab that of a person who prefers dark pages.
func Dark(tab context.Context) error {
	_, err := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
	return err
}

// Screenshot writes what the tab shows to a PNG file, for a person to look at.
func Screenshot(tab context.Context, file string) error {
	png, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
	if err != nil {
		return fmt.Errorf("take a screenshot: %w", err)
	}
	return os.WriteFile(file, png, 0o600)
}
