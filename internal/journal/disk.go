package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// file is what the journal does to a log. Any call may fail before or after it took effect.
type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// disk is the journal's directory; names are relative to it.
type disk interface {
	// Open opens a log for writing and creates it when it is not there.
	Open(name string, empty bool) (file, error)
	Rename(from, to string) error
	Remove(name string) error
	// Holds tells whether the name leads to this very file.
	Holds(name string, f file) (bool, error)
	// Sync makes the names durable.
	Sync() error
}

var _ disk = osDisk("")

// osDisk is a directory of the operating system.
type osDisk string

func (d osDisk) Open(name string, empty bool) (file, error) {
	flag := os.O_RDWR | os.O_CREATE
	if empty {
		flag |= os.O_TRUNC
	}
	f, err := os.OpenFile(filepath.Join(string(d), name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d osDisk) Rename(from, to string) error {
	return os.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d osDisk) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d osDisk) Holds(name string, f file) (bool, error) {
	there, err := os.Stat(filepath.Join(string(d), name))
	if err != nil {
		return false, err
	}
	mine, err := f.(interface{ Stat() (os.FileInfo, error) }).Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(there, mine), nil
}

func (d osDisk) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // some file systems cannot sync a directory; there is nothing better to do on them
	}
	return errors.Join(err, f.Close())
}
