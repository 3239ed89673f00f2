package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"rsc.io/qr"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/flags"
)

// device goes through the device authorization grant.
func (e *enrolment) device(ctx context.Context) error {
	_, err := enroll.DeviceLogin(ctx, enroll.DeviceConfig{
		Definition: e.definition, Credential: e.credential, Save: e.save, Exchange: e.exchange,
		Show: func(code enroll.DeviceCode) error { return showDevice(e.cli.err, code, flags.IsTerminal(e.cli.err)) },
	})
	return err
}

// showDevice says what to do on the other device. In a terminal a camera can read it too.
func showDevice(w io.Writer, code enroll.DeviceCode, terminal bool) error {
	fmt.Fprintf(w, "On any device, open\n\n  %s\n\nand enter the code\n\n  %s\n\n", code.URL, code.UserCode)
	if code.CompleteURL != "" {
		fmt.Fprintf(w, "or open the address that has it already:\n\n  %s\n\n", code.CompleteURL)
	}
	if terminal {
		address := code.CompleteURL
		if address == "" {
			address = code.URL
		}
		// An address too long for a QR code is there to read.
		if picture, err := qr.Encode(address, qr.L); err == nil {
			fmt.Fprintln(w, drawQR(picture.Size, picture.Black))
		}
	}
	_, err := fmt.Fprintf(w, "The code is good for %s; Ctrl-C ends the wait.\n", code.Lifetime.Round(time.Second))
	return err
}

// quietZone is the light border without which many cameras find nothing: half of what ISO/IEC 18004 asks for, which all
// of them take from a screen.
const quietZone = 2

// drawQR draws two rows of modules a line, dark on light whatever the terminal's colours are.
func drawQR(size int, black func(x, y int) bool) string {
	var b strings.Builder
	for y := -quietZone; y < size+quietZone; y += 2 {
		b.WriteString("\x1b[30;107m")
		for x := -quietZone; x < size+quietZone; x++ {
			switch top, bottom := black(x, y), black(x, y+1); {
			case top && bottom:
				b.WriteString("█")
			case top:
				b.WriteString("▀")
			case bottom:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}
