// Package replace writes files that others read at any moment.
package replace

import (
	"errors"
	"os"
	"path/filepath"
)

// File puts data in the place of a file at once, for its owner alone (0600): whoever reads sees the old content or the new one,
// also after a crash.
func File(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".freshet-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
