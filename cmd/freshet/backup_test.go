package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	main "github.com/freshetdev/freshet/cmd/freshet"
)

// A backup is opened where there was room for it, and elsewhere only where nothing can be written there.
func TestABackupIsOpenedBesideIt(t *testing.T) {
	beside, temp, other := t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	kept := filepath.Join(beside, "kept")
	if err := os.Mkdir(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(beside, "nowhere", "kept") // nothing can be written beside it
	for _, tt := range []struct{ backup, tempDir, want string }{
		{kept, "", beside}, {kept + "/", "", beside}, {kept, other, other}, {nowhere, "", temp},
	} {
		dir, err := main.ScratchDir(tt.backup, tt.tempDir)
		if err != nil || filepath.Dir(dir) != tt.want {
			t.Errorf("%s with --temp-dir %q: %s, %v; want it in %s", tt.backup, tt.tempDir, dir, err, tt.want)
		}
	}
	t.Chdir(kept)
	if dir, err := main.ScratchDir(".", ""); err != nil || filepath.Dir(dir) != beside {
		t.Errorf("from inside the backup: %s, %v; want it in %s", dir, err, beside)
	}
	t.Setenv("TMPDIR", nowhere)
	if _, err := main.ScratchDir(nowhere, ""); err == nil || !strings.Contains(err.Error(), "give --temp-dir") {
		t.Errorf("without any place: %v", err)
	}
}
