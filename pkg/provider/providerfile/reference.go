package providerfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Reference says where a secret is: env://NAME, an environment variable; file://PATH, a file, relative to the
// working directory unless it begins with a slash; systemd://NAME, a credential that systemd hands over
// (LoadCredential=). It is not secret itself.
type Reference string

// errReference does not repeat what was written instead: that may be the secret.
var errReference = errors.New("want env://NAME, file://PATH or systemd://NAME; a secret itself does not belong into the file")

// ParseReference reads a reference. No error repeats the text.
func ParseReference(text string) (Reference, error) {
	ref := Reference(text)
	scheme, rest := ref.split()
	ok := rest != "" && !strings.ContainsAny(rest, "\x00\r\n")
	switch scheme {
	case "env":
		ok = ok && !strings.ContainsAny(rest, "= \t")
	case "file":
	case "systemd": // a file name in one directory
		ok = ok && rest != "." && rest != ".." && !strings.ContainsRune(rest, '/')
	default:
		ok = false
	}
	if !ok {
		return "", errReference
	}
	return ref, nil
}

func (r Reference) split() (scheme, rest string) {
	scheme, rest, _ = strings.Cut(string(r), "://")
	return scheme, rest
}

// Resolve returns the definitions with their defaults and secrets, in the file's order. It asks getenv
// for variables and reads files; one newline at a file's end is not part of the secret. The error
// joins one for each reference that leads nowhere, and names the reference, never a value.
func (f File) Resolve(getenv func(name string) string) ([]provider.Definition, error) {
	var definitions []provider.Definition
	var errs []error
	for _, p := range f.Providers {
		d := p.Definition
		for _, ref := range p.Secrets {
			secret, err := ref.resolve(getenv)
			if err != nil {
				errs = append(errs, fmt.Errorf("provider %s: %s: %s: %w", d.Name, p.secretField(), ref, err))
				continue
			}
			d.ClientSecrets = append(d.ClientSecrets, secret)
		}
		if p.Key != "" {
			secret, err := p.Key.resolve(getenv)
			if err != nil {
				errs = append(errs, fmt.Errorf("provider %s: assertion_key: %s: %w", d.Name, p.Key, err))
			}
			d.AssertionKey = secret
		}
		definitions = append(definitions, d.WithDefaults())
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return definitions, nil
}

// secretField is the key of the file that p.Secrets are from.
func (p Provider) secretField() string {
	if p.Definition.AuthStyle == provider.AuthPrivateKeyJWT {
		return "client_key"
	}
	return "client_secret"
}

func (r Reference) resolve(getenv func(string) string) (seal.Secret, error) {
	if _, err := ParseReference(string(r)); err != nil {
		return seal.Secret{}, err
	}
	switch scheme, rest := r.split(); scheme {
	case "env":
		value := getenv(rest)
		if value == "" {
			return seal.Secret{}, errors.New("the variable is not set, or empty")
		}
		return seal.NewSecret(value), nil
	case "systemd":
		dir := getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return seal.Secret{}, fmt.Errorf("CREDENTIALS_DIRECTORY is not set: "+
				"start this as a systemd service whose unit has LoadCredential=%s:PATH", rest)
		}
		return readSecret(filepath.Join(dir, rest))
	default:
		return readSecret(rest)
	}
}

// readSecret reads a secret from a file, which holds nothing else.
func readSecret(path string) (seal.Secret, error) {
	const largest = 64 << 10 // bytes; no client secret comes near it
	file, err := os.Open(path)
	if err != nil {
		return seal.Secret{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, largest+1))
	if err != nil {
		return seal.Secret{}, err
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case len(data) > largest:
		return seal.Secret{}, fmt.Errorf("the file has more than %d bytes: it holds something else", largest)
	case value == "":
		return seal.Secret{}, errors.New("the file is empty")
	}
	return seal.NewSecret(value), nil
}
