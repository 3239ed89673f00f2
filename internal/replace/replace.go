// Package replace writes files that others read at any moment.
//
// # Model
//
// File writes a temporary file beside the one that is meant and renames it. A process that dies in between leaves it behind, with
// what should have been in the file; Clean removes what was left so. A temporary file lives for milliseconds, so an old one is nobody's,
// whichever process made it: no lock is needed beside others that write the same file.
//
// What is renamed is a new file: without more it belongs to whoever wrote it, for that user alone. Content is for a file that others were
// given: it follows symbolic links and keeps mode, owner and group.
package replace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Stale is the age from which a temporary file is a dead process's. A writer that was stopped for so long loses its file, hears so,
// and can write again.
const Stale = time.Minute

// suffix ends the names of temporary files.
const suffix = ".tmp"

// prefix begins those that belong to path. A name may have 255 bytes, some of which are for what is random.
func prefix(path string) string {
	base := filepath.Base(path)
	return ".freshet-" + base[:min(len(base), 200)] + "."
}

// File puts data in the place of a file at once, for its owner alone (0600): whoever reads sees the old content or the new one,
// also after a crash.
func File(path string, data []byte) error {
	return put(path, data, func(*os.File) error { return nil })
}

// put writes a file as File does. prepare is called while it is for its owner alone and not in its place.
func put(path string, data []byte, prepare func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), prefix(path)+"*"+suffix) // 0600
	if err != nil {
		return err
	}
	err = prepare(f)
	if err == nil {
		_, err = f.Write(data)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Clean removes the temporary files that processes which died have left beside path, those that are older than Stale at now. A
// directory that is not there has none.
func Clean(path string, now time.Time) error {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	faults := []error{err}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix(path)) || !strings.HasSuffix(e.Name(), suffix) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err == nil && now.Sub(info.ModTime()) > Stale {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if !errors.Is(err, fs.ErrNotExist) { // another one was faster
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
