package agent

import (
	"net"
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
			p = peer{uid: cred.Uid, gid: cred.Gid, known: true}
		}
	})
	return p
}
