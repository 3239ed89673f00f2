package agent

import (
	"net"

	"golang.org/x/sys/unix"
)

// peersKnown: this system tells who is at the other end of a Unix socket.
const peersKnown = true

// peerOf asks the kernel who connected (LOCAL_PEERCRED): the process's effective user and group at that moment.
func peerOf(conn *net.UnixConn) (p peer) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED); err == nil && cred.Ngroups > 0 {
			p = peer{uid: cred.Uid, gid: cred.Groups[0], known: true}
		}
	})
	return p
}
