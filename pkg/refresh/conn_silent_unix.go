//go:build unix

package refresh

import "syscall"

// silent reports whether a socket has nothing to read: no bytes and no end.
func silent(socket syscall.RawConn) bool {
	var read error
	err := socket.Read(func(fd uintptr) bool {
		_, _, read = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK) // the socket is non-blocking
		return true
	})
	return err == nil && (read == syscall.EAGAIN || read == syscall.EWOULDBLOCK)
}
