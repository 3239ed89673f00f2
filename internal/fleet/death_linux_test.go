package fleet_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestNothingOutlivesACallerThatIsKilled(t *testing.T) {
	t.Parallel()
	caller := exec.CommandContext(t.Context(), os.Args[0])
	caller.Env = append(os.Environ(), doomedNATS+"="+programs.NATSServer, doomedDir+"="+t.TempDir())
	out, err := caller.StdoutPipe()
	must(t, err)
	must(t, caller.Start())
	url, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	conn, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSpace(url), "nats://"))
	must(t, err)
	defer conn.Close()
	must(t, caller.Process.Kill())
	_, _ = io.Copy(io.Discard, conn) // ends with the server
	if err := caller.Wait(); err == nil {
		t.Error("the caller ended by itself")
	}
	for end := time.Now().Add(10 * time.Second); ; { // the kernel closes a dead process's sockets one after the other
		again, err := net.Dial("tcp", conn.RemoteAddr().String())
		if err != nil {
			return
		}
		again.Close()
		if time.Now().After(end) {
			t.Fatal("the server lives on")
		}
	}
}
