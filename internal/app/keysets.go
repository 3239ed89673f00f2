package app

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/freshetdev/freshet/pkg/seal"
)

// KeysetFiles are where the two keysets lie.
type KeysetFiles struct {
	Grant, Access string
}

// KeysetsIn names the keyset files of a directory.
func KeysetsIn(dir string) KeysetFiles {
	return KeysetFiles{Grant: filepath.Join(dir, "grant.keyset.json"), Access: filepath.Join(dir, "access.keyset.json")}
}

// GenerateKeysets makes both keysets in a directory, readable by their owner alone. It never overwrites: the error
// wraps fs.ErrExist.
func GenerateKeysets(dir string) (KeysetFiles, error) {
	k := KeysetsIn(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return k, fmt.Errorf("make keysets: %w", err)
	}
	for _, path := range []string{k.Grant, k.Access} {
		data, err := seal.GenerateKeyset()
		if err != nil {
			return k, fmt.Errorf("make keyset: %w", err)
		}
		if err := createFile(path, append(data, '\n')); err != nil {
			return k, fmt.Errorf("make keyset: %w", err)
		}
	}
	return k, nil
}

// Load reads both keysets.
func (k KeysetFiles) Load() (grant, access *seal.Keyset, err error) {
	if grant, err = loadKeyset(k.Grant); err != nil {
		return nil, nil, err
	}
	access, err = loadKeyset(k.Access)
	return grant, access, err
}

func loadKeyset(path string) (*seal.Keyset, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read keyset: %w", err)
	}
	k, err := seal.LoadKeyset(data)
	if err != nil {
		return nil, fmt.Errorf("load keyset %s: %w", path, err)
	}
	return k, nil
}

// createFile writes a new file for its owner alone, and leaves an existing one alone.
func createFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// EnsureKeysets makes the keysets of a directory where there are none. One alone is an error: half a pair is a loss
// that somebody should know of.
func EnsureKeysets(dir string) error {
	k := KeysetsIn(dir)
	_, errGrant := os.Stat(k.Grant)
	_, errAccess := os.Stat(k.Access)
	switch {
	case errGrant == nil && errAccess == nil:
		return nil
	case errGrant == nil || errAccess == nil:
		return fmt.Errorf("keysets in %s: one of two is missing: restore it", dir)
	}
	_, err := GenerateKeysets(dir)
	return err
}
