//go:build !linux

package fleet

import "syscall"

// dieWithUs: only Linux can tie a child's life to ours; elsewhere Close does it alone.
func dieWithUs() *syscall.SysProcAttr { return nil }
