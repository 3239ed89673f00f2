package fleet

import "syscall"

// dieWithUs makes the kernel kill a child when the thread that started it ends. Threads of a Go program end with the
// program, but for one that a goroutine had locked and did not unlock.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
