package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
)

// The files of a backup.
const (
	manifestFile  = "backup.json"
	tokensFile    = "tokens.snapshot"
	providersFile = "providers.snapshot"
)

// manifestVersion is that of the manifest this package writes.
const manifestVersion = 1

// ErrBackup: a directory holds no whole backup, or one of another namespace.
var ErrBackup = errors.New("not a usable backup")

// Manifest says what a backup holds.
type Manifest struct {
	V         int       `json:"v"`
	Namespace string    `json:"namespace"`
	TakenAt   time.Time `json:"taken_at"` // before the first byte was read, in NATS time
	Tokens    Part      `json:"tokens"`
	Providers Part      `json:"providers"`
}

// Part is one file of a backup.
type Part struct {
	Messages uint64 `json:"messages"`
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256"`
}

// Take writes a backup into dir, which must be empty or not there. b's clock should be measured. A directory without a manifest
// is what is left of a backup that failed. progress, unless nil, hears how many bytes are written.
func Take(ctx context.Context, b *broker.Broker, dir string, progress func(bytes int64)) (Manifest, error) {
	m := Manifest{V: manifestVersion, Namespace: b.Names().Namespace(), TakenAt: b.Now().UTC()}
	if err := emptyDir(dir); err != nil {
		return m, fmt.Errorf("backup: %w", err)
	}
	var err error
	counted := &counter{told: progress}
	if m.Tokens, err = takePart(ctx, b, b.Names().TokensStream(), filepath.Join(dir, tokensFile), counted); err != nil {
		return m, fmt.Errorf("backup: %w", err)
	}
	if m.Providers, err = takePart(ctx, b, b.Names().ProvidersStream(), filepath.Join(dir, providersFile), counted); err != nil {
		return m, fmt.Errorf("backup: %w", err)
	}
	if err := writeManifest(m, dir); err != nil {
		return m, fmt.Errorf("backup: %w", err)
	}
	return m, nil
}

func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	there, err := os.ReadDir(dir)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("%s is not empty: a backup is never overwritten, give another directory", dir)
	}
	return err
}

// counter tells how much was written to it.
type counter struct {
	bytes int64
	told  func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	if c.bytes += int64(len(p)); c.told != nil {
		c.told(c.bytes)
	}
	return len(p), nil
}

func takePart(ctx context.Context, b *broker.Broker, stream, path string, counted *counter) (p Part, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return p, err
	}
	sum := sha256.New()
	p.Messages, err = b.Snapshot(ctx, stream, io.MultiWriter(f, sum, counted))
	if err == nil {
		err = f.Sync()
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err != nil {
		return p, err
	}
	p.Bytes, p.SHA256 = info.Size(), hex.EncodeToString(sum.Sum(nil))
	return p, nil
}

func writeManifest(m Manifest, dir string) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, manifestFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ReadManifest reads what a backup holds. Error: ErrBackup.
func ReadManifest(dir string) (m Manifest, err error) {
	data, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%w: read %s: %w", ErrBackup, manifestFile, err)
	}
	if m.V != manifestVersion || m.TakenAt.IsZero() {
		return m, fmt.Errorf("%w: %s is of version %d, this program reads %d", ErrBackup, manifestFile, m.V, manifestVersion)
	}
	return m, nil
}

// Open loads a backup into scratch, a server of one's own that has no buckets, after it has compared the checksums.
func Open(ctx context.Context, m Manifest, dir string, scratch *broker.Broker) error {
	if have := scratch.Names().Namespace(); m.Namespace != have {
		return fmt.Errorf("%w: it is of namespace %q, not %q", ErrBackup, m.Namespace, have)
	}
	err := openPart(m.Providers, filepath.Join(dir, providersFile), func(r io.Reader) error { return scratch.RestoreProviders(ctx, r) })
	if err == nil {
		err = openPart(m.Tokens, filepath.Join(dir, tokensFile), func(r io.Reader) error { return scratch.RestoreTokens(ctx, r) })
	}
	if err != nil {
		return fmt.Errorf("open backup %s: %w", dir, err)
	}
	return nil
}

func openPart(p Part, path string, load func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != p.SHA256 {
		return fmt.Errorf("%w: %s is not what was written", ErrBackup, path)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return load(f)
}
