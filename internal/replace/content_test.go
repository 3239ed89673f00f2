package replace_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/freshetdev/freshet/internal/replace"
)

func TestContentKeepsModeOwnerAndLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "data", "target"), filepath.Join(dir, "link")
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 { // only root can give a file away
		uid, gid = 65532, 65533
	}
	for _, err := range []error{
		os.Mkdir(filepath.Dir(target), 0o700), os.WriteFile(target, []byte("old"), 0o600), os.Chown(target, uid, gid), os.Chmod(target, 0o640),
		os.Symlink(filepath.Join("data", "target"), link), replace.Content(link, []byte("newer")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if to, err := os.Readlink(link); err != nil || to != filepath.Join("data", "target") {
		t.Errorf("the link leads to %q (%v)", to, err)
	}
	info, err := os.Stat(target)
	if err != nil || info.Mode() != 0o640 || info.Size() != 5 {
		t.Fatalf("%v, %v", info, err)
	}
	if s := info.Sys().(*syscall.Stat_t); int(s.Uid) != uid || int(s.Gid) != gid {
		t.Errorf("it belongs to %d:%d", s.Uid, s.Gid)
	}
	if got := names(t, filepath.Dir(target)); !slices.Equal(got, []string{"target"}) {
		t.Errorf("there is %q", got)
	}
}

func TestContentIsForAFileThatIsThere(t *testing.T) {
	t.Parallel()
	if err := replace.Content(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestWhatCannotBeKeptIsSaidAndWidensNothing(t *testing.T) {
	t.Parallel()
	have, want := [2]int{1000, 1000}, [2]int{65532, 100}
	for name, c := range map[string]struct {
		want  [2]int
		may   func(uid, gid int) bool
		mode  fs.FileMode
		error string // "" for none
	}{
		"nothing to do":         {have, func(int, int) bool { return false }, 0o640, ""},
		"root":                  {want, func(int, int) bool { return true }, 0o640, ""},
		"a member of the group": {want, func(uid, _ int) bool { return uid == -1 }, 0o640, "belonged to 65532:100 with mode 0640, and now to 1000:100 with 0640"},
		"a stranger":            {want, func(int, int) bool { return false }, 0o600, "and now to 1000:1000 with 0600; who read it before may not be able to: chown it 65532:100, then chmod 0640"},
		"the group is its own":  {[2]int{65532, 1000}, func(int, int) bool { return false }, 0o640, "and now to 1000:1000 with 0640"},
	} {
		mode, err := replace.Give(func(uid, gid int) error {
			if c.may(uid, gid) {
				return nil
			}
			return fs.ErrPermission
		}, have, c.want, 0o640)
		if mode != c.mode || (err != nil) != (c.error != "") || err != nil && (!errors.Is(err, replace.ErrOwner) || !strings.Contains(err.Error(), c.error)) {
			t.Errorf("%s: mode %04o, error %v", name, mode, err)
		}
	}
}
