package replace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrOwner: the file has its new content, and another owner or group than before. The error says which, and how to put it right.
var ErrOwner = errors.New("the owner could not be kept")

// owner is who a file belongs to.
type owner struct{ uid, gid int }

// Content puts data in the place of what a file holds, at once as File does. The file must be there and keeps its mode, owner and group;
// where path is a symbolic link, that is the file which it leads to. Only root can give a file away, and others only to groups of
// theirs: where that fails the content is in place, the mode too but for a group that is not the one it was meant for, and the error is
// ErrOwner.
func Content(path string, data []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	var lost error
	if err := put(path, data, func(f *os.File) error {
		lost, err = alike(f, info)
		return err
	}); err != nil {
		return err
	}
	if lost != nil {
		return fmt.Errorf("%s: %w", path, lost)
	}
	return nil
}

// alike gives a new file the owner, the group and the mode of another one.
func alike(f *os.File, as fs.FileInfo) (lost, err error) {
	own, err := f.Stat()
	if err != nil {
		return nil, err
	}
	have, _ := ownerOf(own)
	want, known := ownerOf(as)
	if !known {
		want = have
	}
	mode, lost := give(f.Chown, have, want, as.Mode().Perm())
	return lost, f.Chmod(mode)
}

// give changes the owner, as far as may be, and returns the mode that the file can then have. A group that cannot be kept
// gets no permission: what was for one group is not for another.
func give(chown func(uid, gid int) error, have, want owner, mode fs.FileMode) (fs.FileMode, error) {
	if have == want || chown(want.uid, want.gid) == nil {
		return mode, nil
	}
	kept := mode
	if have.gid != want.gid && chown(-1, want.gid) != nil {
		kept &^= 0o070
	} else {
		have.gid = want.gid
	}
	return kept, fmt.Errorf("%w: it belonged to %d:%d with mode %04o, and now to %d:%d with %04o; who read it before may not be able to: chown it %[2]d:%[3]d, then chmod %04[4]o",
		ErrOwner, want.uid, want.gid, mode, have.uid, have.gid, kept)
}
