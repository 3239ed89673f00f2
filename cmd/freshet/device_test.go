package main_test

import (
	"strings"
	"testing"
	"time"

	"rsc.io/qr"

	main "github.com/freshetdev/freshet/cmd/freshet"
	"github.com/freshetdev/freshet/internal/enroll"
)

func TestDeviceCodeIsShown(t *testing.T) {
	t.Parallel()
	code := enroll.DeviceCode{
		UserCode: "WDJB-MJHT", URL: "https://acme.test/device", CompleteURL: "https://acme.test/device?user_code=WDJB-MJHT", Lifetime: 10 * time.Minute,
	}
	var plain, terminal strings.Builder
	for out, isTerminal := range map[*strings.Builder]bool{&plain: false, &terminal: true} {
		if err := main.ShowDevice(out, code, isTerminal); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"  " + code.UserCode + "\n", "  " + code.URL + "\n", "  " + code.CompleteURL + "\n", "10m0s"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in %q", want, out)
			}
		}
	}
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("a file got a picture")
	}
	wantPicture(t, terminal.String(), code.CompleteURL)
}

// wantPicture holds every module that is drawn against the code of the text.
func wantPicture(t *testing.T, drawn, text string) {
	t.Helper()
	want, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	y, modules := -2, 0
	for line := range strings.Lines(drawn) {
		row, ok := strings.CutPrefix(line, "\x1b[30;107m")
		if !ok {
			continue
		}
		row, _ = strings.CutSuffix(row, "\x1b[0m\n")
		for i, r := range []rune(row) {
			top, bottom := r == '█' || r == '▀', r == '█' || r == '▄'
			if x := i - 2; top != want.Black(x, y) || bottom != want.Black(x, y+1) {
				t.Fatalf("the modules at %d, %d are wrong", x, y)
			}
			modules += 2
		}
		y += 2
	}
	if modules < (want.Size+4)*(want.Size+4) {
		t.Errorf("%d modules for a code of %d a side", modules, want.Size)
	}
}
