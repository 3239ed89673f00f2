package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/rewrap"
	"github.com/freshetdev/freshet/pkg/seal"
)

// listedKey is a key as keys ls prints it.
type listedKey struct {
	Keyset    string               `json:"keyset"`
	Key       uint32               `json:"key"`
	Algorithm string               `json:"algorithm,omitempty"`
	Status    string               `json:"status"`
	Primary   bool                 `json:"primary"`
	InUse     map[rewrap.Place]int `json:"in_use,omitempty"`
}

// The status of a key that no keyset has and a ciphertext names.
const statusMissing = "missing"

func (c *cli) keysLsCommand() *cobra.Command {
	var file string
	var inUse bool
	cmd := c.command("ls", "List the keys of the keysets", `  freshet keys ls
  freshet keys ls --keyset ./keys/grant.keyset.json
  freshet keys ls --in-use`, cobra.NoArgs)
	c.outputFlag(cmd, formTable, formJSON, formJSONL, formName)
	c.keys.Register(cmd.Flags())
	cmd.Flags().StringVar(&file, "keyset", "", "list the keys of this `file` alone")
	cmd.Flags().BoolVar(&inUse, "in-use", false, "count what is stored on NATS that needs each key; nothing is opened")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		sets, err := c.keysets(file)
		if err != nil {
			return err
		}
		var keys []listedKey
		for _, name := range []string{"grant", "access", file} {
			if k := sets[name]; k != nil {
				keys = append(keys, listKeys(name, k)...)
			}
		}
		if inUse {
			if keys, err = c.countUses(cmd.Context(), keys, file == ""); err != nil {
				return err
			}
		}
		p := c.printer("KEYSET", "KEY", "ALGORITHM", "STATUS", "SEALS", "NEEDED BY")
		for _, k := range keys {
			if err := p.add(k.row(inUse)); err != nil {
				return err
			}
		}
		return p.end()
	}
	return cmd
}

// keysets loads the keyset of a file, else those that the settings name.
func (c *cli) keysets(file string) (map[string]*seal.Keyset, error) {
	if file == "" {
		grant, access, err := c.keys.Given()
		return map[string]*seal.Keyset{"grant": grant, "access": access}, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read keyset: %w", err)
	}
	k, err := seal.LoadKeyset(data)
	return map[string]*seal.Keyset{file: k}, err
}

func listKeys(keyset string, k *seal.Keyset) []listedKey {
	var all []listedKey
	for _, key := range k.Keys() {
		l := listedKey{Keyset: keyset, Key: key.ID, Algorithm: key.Algorithm, Status: "disabled", Primary: key.Primary}
		if key.Enabled {
			l.Status = "enabled"
		}
		all = append(all, l)
	}
	return all
}

// countUses adds to each key what needs it, and, if all is set, the keys that something needs and no keyset has.
func (c *cli) countUses(ctx context.Context, keys []listedKey, all bool) ([]listedKey, error) {
	s, err := c.survey(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, u := range s.Uses() {
		i := slices.IndexFunc(keys, func(l listedKey) bool { return l.Key == u.Key })
		if i < 0 && !all {
			continue
		}
		if i < 0 {
			i, keys = len(keys), append(keys, listedKey{Keyset: "-", Key: u.Key, Status: statusMissing})
		}
		if keys[i].InUse == nil {
			keys[i].InUse = make(map[rewrap.Place]int)
		}
		keys[i].InUse[u.Place] = u.Count
	}
	return keys, nil
}

// survey counts what is stored on NATS and in journals, and says what cannot be read.
func (c *cli) survey(ctx context.Context, stateDirs []string) (*rewrap.Survey, error) {
	b, closeConn, err := c.connect()
	if err != nil {
		return nil, err
	}
	defer closeConn()
	s, err := rewrap.Take(ctx, b)
	if err != nil {
		return nil, err
	}
	for _, dir := range stateDirs {
		if err := s.AddJournal(dir); err != nil {
			return nil, err
		}
	}
	for _, fault := range s.Faults {
		fmt.Fprintln(c.err, "freshet:", fault)
	}
	return s, nil
}

func (l listedKey) row(inUse bool) row {
	seals, needed := "", ""
	if l.Primary {
		seals = "primary"
	}
	if inUse {
		needed = cmp.Or(l.needed(), "nothing")
	}
	id := strconv.FormatUint(uint64(l.Key), 10)
	return row{name: id, cells: []string{l.Keyset, id, shortAlgorithm(l.Algorithm), l.Status, seals, needed}, object: l}
}

// needed says in words what needs the key.
func (l listedKey) needed() string {
	var words []string
	for _, p := range rewrap.Places() {
		if n := l.InUse[p]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, p))
		}
	}
	return strings.Join(words, ", ")
}

// shortAlgorithm is what people call it: "google.crypto.tink.XChaCha20Poly1305Key" is XChaCha20Poly1305.
func shortAlgorithm(typeName string) string {
	return cmp.Or(strings.TrimSuffix(typeName[strings.LastIndexByte(typeName, '.')+1:], "Key"), "-")
}
