package tokens

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshetdev/freshet/internal/replace"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

const (
	// maxCacheFile bounds the cache file; tokens that end first are left out.
	maxCacheFile = 32 << 20
	// cacheEvery is the shortest time between two writes of the cache file; a write that takes long is followed by a
	// pause of cachePause times as long.
	cacheEvery = time.Second
	cachePause = 20
	// cacheVersion is the version of the file that this package writes and reads.
	cacheVersion = 1
)

// cacheFile is what stands in the file, under the seal.
type cacheFile struct {
	V      int           `json:"v"`
	Tokens []cachedToken `json:"tokens"`
}

// cachedToken is a token in the file. A seal.Secret would redact itself, so the token is spelled out.
type cachedToken struct {
	ID          string          `json:"id"`
	AccessToken string          `json:"access_token"`
	TokenType   string          `json:"token_type,omitempty"`
	ExpiresAt   time.Time       `json:"expires_at,omitzero"`
	RefreshAt   time.Time       `json:"refresh_at,omitzero"`
	Scopes      []string        `json:"scopes,omitempty"`
	Generation  uint64          `json:"generation"`
	Version     uint64          `json:"version"`
	Meta        json.RawMessage `json:"meta,omitempty"`
}

// cache is the file, and the tokens out of it that nobody has asked for yet.
type cache struct {
	path    string
	keyset  *seal.Keyset
	bucket  string
	changed atomic.Bool // since the last write
	failing bool        // the last write failed, and OnError knows; the writer's own

	mu    sync.Mutex
	shelf map[string]reading // by id
}

// binding is the place of the file's ciphertext: every credential's key has a dot in it, so this is none of theirs.
func (k *cache) binding() seal.Binding {
	return seal.Binding{Bucket: k.bucket, Key: "cache", Field: "cache"}
}

// loadCache reads the file. Whatever is wrong with it is told, and it counts as empty.
func loadCache(cfg Config, bucket string, now time.Time) *cache {
	k := &cache{path: cfg.CacheFile, keyset: cfg.AccessKeyset, bucket: bucket, shelf: make(map[string]reading)}
	f, err := k.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		cfg.OnError(fmt.Errorf("cache file is ignored: %w", err))
	}
	if err := replace.Clean(k.path, now); err != nil {
		cfg.OnError(fmt.Errorf("remove temporary files beside the cache file: %w", err))
	}
	for _, t := range f.Tokens {
		if r, ok := t.reading(); ok && r.token.usable(now) {
			k.shelf[t.ID] = r
		}
	}
	return k
}

func (k *cache) read() (f cacheFile, err error) {
	file, err := os.Open(k.path)
	if err != nil {
		return f, err
	}
	defer file.Close()
	sealed, err := io.ReadAll(io.LimitReader(file, maxCacheFile+1))
	switch {
	case err != nil:
		return f, err
	case len(sealed) > maxCacheFile:
		return f, fmt.Errorf("%s is larger than %d bytes", k.path, maxCacheFile)
	}
	plain, err := k.keyset.Open(sealed, k.binding())
	if err != nil {
		return f, fmt.Errorf("%s: %w", k.path, err)
	}
	if json.Unmarshal(plain, &f) != nil || f.V != cacheVersion { // the error could quote a token
		return cacheFile{}, fmt.Errorf("%s: not a cache of version %d", k.path, cacheVersion)
	}
	return f, nil
}

func (t cachedToken) reading() (reading, bool) {
	c, err := events.ParseCredential(t.ID)
	if err != nil || t.AccessToken == "" {
		return reading{}, false
	}
	return reading{refreshAt: t.RefreshAt, token: Token{
		Credential: c, AccessToken: seal.NewSecret(t.AccessToken), TokenType: t.TokenType, ExpiresAt: t.ExpiresAt,
		Scopes: t.Scopes, Generation: t.Generation, Version: t.Version, Meta: t.Meta,
	}}, true
}

func cachedOf(r reading) cachedToken {
	t := r.token
	return cachedToken{
		ID: t.Credential.String(), AccessToken: t.AccessToken.Reveal(), TokenType: t.TokenType, ExpiresAt: t.ExpiresAt,
		RefreshAt: r.refreshAt, Scopes: t.Scopes, Generation: t.Generation, Version: t.Version, Meta: t.Meta,
	}
}

// take hands a token over to its source.
func (k *cache) take(c events.Credential) (reading, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, ok := k.shelf[c.String()]
	delete(k.shelf, c.String())
	return r, ok
}

// waiting are the tokens that nobody has asked for yet.
func (k *cache) waiting(now time.Time) (all []reading) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, r := range k.shelf {
		if r.token.usable(now) {
			all = append(all, r)
		} else {
			delete(k.shelf, id)
		}
	}
	return all
}

// withdrawn drops the token of a credential that nobody has asked for yet.
func (c *Client) withdrawn(kind events.Type, key string) {
	if c.cache == nil || kind != events.TokenRevoked && kind != events.TokenDeleted {
		return
	}
	if cred, err := events.ParseKey(key); err == nil {
		if _, ok := c.cache.take(cred); ok {
			c.cacheChanged()
		}
	}
}

// cacheChanged says that the file is out of date.
func (c *Client) cacheChanged() {
	if c.cache != nil {
		c.cache.changed.Store(true)
	}
}

// keepCache writes the file after changes, until the client is closed.
func (c *Client) keepCache() {
	pause := cacheEvery
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(pause):
		}
		began := time.Now()
		c.saveCache()
		pause = max(cacheEvery, cachePause*time.Since(began))
	}
}

// saveCache writes the file if it is out of date. It is called by one goroutine at a time.
func (c *Client) saveCache() {
	k := c.cache
	if !k.changed.Swap(false) {
		return
	}
	now := time.Now()
	all := k.waiting(now)
	for _, s := range c.sources() {
		if r, ok := s.keepsake(now); ok {
			all = append(all, r)
		}
	}
	err := k.write(all)
	if err != nil {
		k.changed.Store(true)
		if !k.failing {
			c.cfg.OnError(fmt.Errorf("write cache file: %w", err))
		}
	}
	k.failing = err != nil
}

// keepsake is the token that the file should have of a source.
func (s *source) keepsake(now time.Time) (reading, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest, s.newest.token.usable(now)
}

// write replaces the file.
func (k *cache) write(all []reading) error {
	plain, err := encodeCache(all, maxCacheFile)
	if err != nil {
		return err
	}
	sealed, err := k.keyset.Seal(plain, k.binding())
	if err != nil {
		return err
	}
	return replace.File(k.path, sealed)
}

// encodeCache writes the tokens that fit into so many bytes under the seal, those that live longest first.
func encodeCache(all []reading, limit int) ([]byte, error) {
	slices.SortFunc(all, func(a, b reading) int {
		return cmp.Or(cmp.Compare(endOf(b.token), endOf(a.token)), cmp.Compare(a.token.Credential.String(), b.token.Credential.String()))
	})
	out := fmt.Appendf(nil, `{"v":%d,"tokens":[`, cacheVersion)
	const reserve = 1 << 10 // for the seal and the end
	for i, r := range all {
		data, err := json.Marshal(cachedOf(r))
		if err != nil {
			return nil, fmt.Errorf("%s: its meta is no JSON", r.token.Credential)
		}
		if len(out)+len(data)+reserve > limit {
			break
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, data...)
	}
	return append(out, "]}"...), nil
}
