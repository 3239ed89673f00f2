package solo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// otherSettings are variables that would lead a command elsewhere, or contradict the file.
const otherSettings = "NATS_CONTEXT NATS_USER NATS_PASSWORD NATS_CREDS NATS_NKEY NATS_CERT NATS_KEY NATS_CA " +
	"FRESHET_NAMESPACE FRESHET_GRANT_KEYSET FRESHET_ACCESS_KEYSET"

// envFile is where the environment file lies.
func (n *node) envFile() string { return filepath.Join(n.dir, "env") }

// writeEnv writes a file for a shell to source: how to reach this process, where the keysets are, and a function that
// runs this very program, which need not be installed. It holds a password, so it is for its owner alone.
func (n *node) writeEnv() (path string, err error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("write environment file: %w", err)
	}
	text := fmt.Sprintf("unset %s\nexport NATS_URL=%s\nexport FRESHET_GRANT_KEYSET_FILE=%s\nexport FRESHET_ACCESS_KEYSET_FILE=%s\nfreshet() { %s \"$@\"; }\n",
		otherSettings, quote(n.server.URL()), quote(n.keysets.Grant), quote(n.keysets.Access), quote(exe))
	n.removeEnv() // of an earlier life, whose mode would stay
	f, err := os.OpenFile(n.envFile(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("write environment file: %w", err)
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return "", fmt.Errorf("write environment file: %w", err)
	}
	return n.envFile(), f.Close()
}

// removeEnv removes the file: without the process it leads nowhere.
func (n *node) removeEnv() { _ = os.Remove(n.envFile()) }

// quote makes a word that a POSIX shell takes literally.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
