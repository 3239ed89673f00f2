package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
)

func (c *cli) keysCommand() *cobra.Command {
	return group("keys", "Make and look after the keysets", `  freshet keys generate --dir ./keys
  freshet keys ls --in-use`, c.keysGenerateCommand(), c.keysLsCommand(), c.keysRotateCommand(), c.keysRewrapCommand())
}

func (c *cli) keysGenerateCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "generate", Short: "Make the two keysets",
		Long: `Make the two keysets, as files that only you can read.

The grant keyset opens refresh tokens and client secrets: workers and enrolment need it. The access keyset opens
access tokens: workers and readers need it. Whoever loses them has lost the grants. Existing files are left alone.`,
		Example: "  freshet keys generate --dir ./keys",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			k, err := app.GenerateKeysets(dir)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%w: keysets are never overwritten; give another --dir", err)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "export FRESHET_GRANT_KEYSET_FILE=%s\nexport FRESHET_ACCESS_KEYSET_FILE=%s\n", abs(k.Grant), abs(k.Access))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "`directory` to write to")
	return cmd
}

func abs(path string) string {
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}
