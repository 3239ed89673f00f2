package flags

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/freshetdev/freshet/pkg/seal"
)

// ErrNoKeyset: nothing says where a keyset is.
var ErrNoKeyset = errors.New("no keyset")

// Keysets says where the keysets are. Each comes from its flag, else from the file that FRESHET_..._KEYSET_FILE names, else from
// FRESHET_..._KEYSET itself (Tink's JSON, or that in base64), else from the systemd credential grant-keyset or access-keyset.
type Keysets struct {
	GrantFile, AccessFile string
	// Warn hears of a file that everybody on this machine may read. Optional.
	Warn func(string)
}

// Register adds the flags to fs.
func (k *Keysets) Register(fs *pflag.FlagSet) {
	fs.StringVar(&k.GrantFile, "grant-keyset", "", "`file` with the keyset for refresh tokens and client secrets")
	Env(fs, "grant-keyset", "FRESHET_GRANT_KEYSET_FILE")
	k.RegisterAccess(fs)
}

// RegisterAccess adds the flag of a command that needs no more than the access keyset.
func (k *Keysets) RegisterAccess(fs *pflag.FlagSet) {
	fs.StringVar(&k.AccessFile, "access-keyset", "", "`file` with the keyset for access tokens")
	Env(fs, "access-keyset", "FRESHET_ACCESS_KEYSET_FILE")
}

// Grant loads the keyset for refresh tokens. Error: ErrNoKeyset.
func (k *Keysets) Grant() (*seal.Keyset, error) { return k.load("grant", k.GrantFile) }

// Access loads the keyset for access tokens. Error: ErrNoKeyset.
func (k *Keysets) Access() (*seal.Keyset, error) { return k.load("access", k.AccessFile) }

// Both loads both keysets and reports what is wrong with either.
func (k *Keysets) Both() (grant, access *seal.Keyset, err error) {
	grant, err1 := k.Grant()
	access, err2 := k.Access()
	return grant, access, errors.Join(err1, err2)
}

// Given loads those of the keysets that there are, one at least; the other is nil.
func (k *Keysets) Given() (grant, access *seal.Keyset, err error) {
	grant, err1 := k.Grant()
	access, err2 := k.Access()
	switch {
	case errors.Is(err1, ErrNoKeyset) && err2 == nil:
		return nil, access, nil
	case errors.Is(err2, ErrNoKeyset) && err1 == nil:
		return grant, nil, nil
	}
	return grant, access, errors.Join(err1, err2)
}

func (k *Keysets) load(which, file string) (*seal.Keyset, error) {
	data, err := k.read(which, file)
	if err != nil {
		return nil, err
	}
	keyset, err := seal.LoadKeyset(data)
	if err != nil {
		return nil, fmt.Errorf("%s keyset: %w", which, err)
	}
	return keyset, nil
}

// origin is where a keyset comes from: a file that somebody named, a credential of systemd, or a variable.
type origin struct {
	named, credential string // paths
	variable          string
}

// origin finds where a keyset comes from. Error: ErrNoKeyset.
func (k *Keysets) origin(which, file string) (origin, error) {
	variable := "FRESHET_" + upperSnake(which) + "_KEYSET"
	content := os.Getenv(variable)
	switch {
	case file != "" && content != "" && file == os.Getenv(variable+"_FILE"):
		return origin{}, fmt.Errorf("%s and %s_FILE are both set: unset one", variable, variable)
	case file != "" && filepath.Dir(file) == os.Getenv("CREDENTIALS_DIRECTORY"):
		return origin{credential: file}, nil
	case file != "":
		return origin{named: file}, nil
	case content != "":
		return origin{variable: variable}, nil
	}
	if credential := credentialFile(which); credential != "" {
		return origin{credential: credential}, nil
	}
	return origin{}, noKeyset{which}
}

func (k *Keysets) read(which, file string) ([]byte, error) {
	from, err := k.origin(which, file)
	if err != nil {
		return nil, err
	}
	if from.variable != "" {
		return unwrapped([]byte(os.Getenv(from.variable))), nil
	}
	return k.readFile(which, cmp.Or(from.named, from.credential))
}

// credentialFile is where systemd puts the credential WHICH-keyset of a unit (systemd.exec, LoadCredential=); empty: it did not.
func credentialFile(which string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, which+"-keyset")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func (k *Keysets) readFile(which, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o004 != 0 && k.Warn != nil {
		k.Warn(fmt.Sprintf("everybody on this machine may read the %s keyset %s: chmod o-r it", which, path))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s keyset: %w", which, err)
	}
	return data, nil
}

// unwrapped takes a variable's value out of its base64, where it has one: JSON is hard to quote.
func unwrapped(content []byte) []byte {
	content = bytes.TrimSpace(content)
	if bytes.HasPrefix(content, []byte("{")) {
		return content
	}
	data, err := base64.StdEncoding.DecodeString(string(content))
	if err != nil {
		return content // said in words where it is read
	}
	return data
}

// noKeyset is an ErrNoKeyset that says which, and what to do.
type noKeyset struct{ which string }

func (e noKeyset) Error() string {
	return fmt.Sprintf("no %s keyset: give --%s-keyset FILE (make one with freshet keys generate)", e.which, e.which)
}

func (e noKeyset) Is(target error) bool { return target == ErrNoKeyset }
