package agent

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// peersKnown: this system tells who is at the other end of a Unix socket.
const peersKnown = true

// peerOf asks the kernel who connected (unix(7), SO_PEERCRED): the process's user and primary group at that moment.
func peerOf(conn *net.UnixConn) (p peer) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			p = peer{uid: cred.Uid, gid: cred.Gid, pid: cred.Pid, program: programOf(cred.Pid), known: true}
		}
	})
	return p
}

// programOf is what a process calls itself (proc(5), comm). It may have ended, and may call itself anything.
func programOf(pid int32) string {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/comm")
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(name)), "?")
}
