package solo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeEnv writes a file for a shell to source: how to reach this process, where the keysets are, and a function that
// runs this very program, which need not be installed.
func (n *node) writeEnv() (path string, err error) {
	path = filepath.Join(n.dir, "env")
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("write environment file: %w", err)
	}
	text := fmt.Sprintf("export NATS_URL=%s\nexport FRESHET_GRANT_KEYSET_FILE=%s\nexport FRESHET_ACCESS_KEYSET_FILE=%s\nfreshet() { %s \"$@\"; }\n",
		quote(n.server.URL()), quote(n.keysets.Grant), quote(n.keysets.Access), quote(exe))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write environment file: %w", err)
	}
	return path, nil
}

// quote makes a word that a POSIX shell takes literally.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
