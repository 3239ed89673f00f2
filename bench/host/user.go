package host

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// User is somebody else whom a program runs as.
type User struct {
	UID, GID int
}

// Unprivileged returns the named user where we are root, and nil, ourselves, where we are not: PostgreSQL refuses to run as
// root.
func Unprivileged(name string) (*User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("find user %s: %w", name, err)
	}
	uid, _ := strconv.Atoi(u.Uid) // numbers on every Unix
	gid, _ := strconv.Atoi(u.Gid)
	return &User{UID: uid, GID: gid}, nil
}

func (u *User) credential() *syscall.Credential {
	if u == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
}

// own gives a directory to the user.
func (u *User) own(dir string) error {
	if u == nil {
		return nil
	}
	return os.Chown(dir, u.UID, u.GID)
}
