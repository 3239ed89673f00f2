package replace

import "io/fs"

// Give is give, with users and groups as pairs.
func Give(chown func(uid, gid int) error, have, want [2]int, mode fs.FileMode) (fs.FileMode, error) {
	return give(chown, owner{have[0], have[1]}, owner{want[0], want[1]}, mode)
}
