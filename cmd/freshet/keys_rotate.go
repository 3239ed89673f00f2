package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/replace"
	"github.com/freshetdev/freshet/internal/rewrap"
	"github.com/freshetdev/freshet/pkg/seal"
)

// rotation is what keys rotate was asked for.
type rotation struct {
	promote, force bool
	retire         string
	stateDirs      []string
}

func (c *cli) keysRotateCommand() *cobra.Command {
	var r rotation
	cmd := c.command("rotate FILE", "Bring a new key into a keyset, step by step", `  freshet keys rotate ./keys/grant.keyset.json
  freshet keys rotate ./keys/grant.keyset.json --promote
  freshet keys rotate ./keys/grant.keyset.json --retire 1234567890 --state-dir ./state`, cobra.ExactArgs(1))
	cmd.Long = `Bring a new key into a keyset, step by step. A process that meets a ciphertext of a key that it lacks cannot go on, so
each step ends with the new file in the hands of every process that reads it.

Without a flag a new key is added, which opens and does not seal yet. --promote makes it the one that seals; then
freshet keys rewrap moves what is stored. --retire removes an old key, and refuses while anything needs it. Journals may need a
key of the grant keyset: it also refuses without --state-dir for those, unless --force is given.

The file is replaced at once. Its mode, owner and group stay, and a symbolic link is followed; what cannot be kept is warned of. The
one before stays beside it as FILE.old, for you alone.`
	fs := cmd.Flags()
	fs.BoolVar(&r.promote, "promote", false, "make the newest key the one that seals")
	fs.StringVar(&r.retire, "retire", "", "remove the key of this `id`, once nothing needs it")
	fs.BoolVar(&r.force, "force", false, "with --retire: do not look whether anything needs it; what does is lost")
	fs.StringArrayVar(&r.stateDirs, "state-dir", nil, stateDirUsage)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file := args[0]
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read keyset: %w", err)
		}
		switch {
		case r.promote && r.retire != "":
			return usage(errors.New("--promote and --retire are steps of their own: give one"))
		case r.promote:
			return c.promote(cmd.Context(), file, data)
		case r.retire != "":
			return c.retire(cmd.Context(), r, file, data)
		}
		return c.addKey(cmd.Context(), file, data)
	}
	return cmd
}

const stateDirUsage = "look into the journal of this state `directory` of a worker or an exchanger too; once for each"

// distribute is what follows each step.
const distribute = "give the file to every process that reads it, with a SIGHUP or a restart each: systemd credentials, variables, Compose and Kubernetes need the restart, " +
	"and a process that was sent a SIGHUP logs the keys that it has."

func (c *cli) addKey(ctx context.Context, file string, data []byte) error {
	next, id, err := seal.AddKey(data)
	if errors.Is(err, seal.ErrNewerWaits) {
		return fmt.Errorf("%w: freshet keys rotate %s --promote", err, file)
	}
	if err == nil {
		c.noteKeys(ctx, "add key %d to %s", id, file)
		err = c.replaceKeyset(file, data, next)
	}
	if err == nil {
		_, err = fmt.Fprintln(c.out, id)
	}
	return c.say(err, `%s has key %d, which does not seal yet; %[1]s.old is the file as it was.
Next: %[3]s Then: freshet keys rotate %[1]s --promote`, file, id, distribute)
}

func (c *cli) promote(ctx context.Context, file string, data []byte) error {
	next, id, err := seal.PromoteKey(data)
	if errors.Is(err, seal.ErrNothingNewer) {
		return fmt.Errorf("%w: freshet keys rotate %s adds one", err, file)
	}
	if err == nil {
		c.noteKeys(ctx, "promote key %d of %s", id, file)
		err = c.replaceKeyset(file, data, next)
	}
	return c.say(err, `key %d of %s seals from now on; %[2]s.old is the file as it was.
Next: %[3]s Then: freshet keys rewrap`, id, file, distribute)
}

func (c *cli) retire(ctx context.Context, r rotation, file string, data []byte) error {
	id, err := strconv.ParseUint(r.retire, 10, 32)
	if err != nil {
		return usage(fmt.Errorf("--retire %s: want a key's id, as freshet keys ls prints it", r.retire))
	}
	next, err := seal.RemoveKey(data, uint32(id))
	if errors.Is(err, seal.ErrPrimaryKey) {
		return fmt.Errorf("%w: add another and promote it first", err)
	}
	if err == nil && !r.force {
		err = c.needless(ctx, r, data, uint32(id))
	}
	if err == nil {
		c.noteKeys(ctx, "retire key %d of %s", id, file)
		err = c.replaceKeyset(file, data, next)
	}
	return c.say(err, `key %d is gone from %s; %[2]s.old still has it: delete that file once all goes well.
Next: %[3]s`, id, file, distribute)
}

// needless fails while anything needs the key of a keyset, or while that is not known.
func (c *cli) needless(ctx context.Context, r rotation, keyset []byte, id uint32) error {
	s, err := c.survey(ctx, r.stateDirs)
	if err != nil {
		return fmt.Errorf("look whether anything needs key %d: %w; --force does without", id, err)
	}
	if len(s.Faults) > 0 {
		return fmt.Errorf("%d entries cannot be read, so it is not known whether they need key %d; --force does without", len(s.Faults), id)
	}
	uses := s.Of(id)
	for _, u := range uses {
		fmt.Fprintf(c.err, "freshet: key %d is needed by %d %s, such as that of %s\n", id, u.Count, u.Place, u.Example)
	}
	if len(uses) > 0 {
		return fmt.Errorf("key %d is still needed: freshet keys rewrap moves what is stored on NATS; journals and enrolments end by themselves", id)
	}
	if len(r.stateDirs) > 0 {
		return nil
	}
	return journalsUnseen(s, keyset, id)
}

// journalsUnseen fails unless the keyset is seen to seal access tokens: journals hold grants, so an access key they do not need.
func journalsUnseen(s *rewrap.Survey, keyset []byte, id uint32) error {
	k, err := seal.LoadKeyset(keyset)
	if err != nil {
		return err
	}
	for _, u := range s.Uses() {
		if u.Place == rewrap.PlaceAccess && slices.Contains(k.KeyIDs(), u.Key) {
			return nil
		}
	}
	return fmt.Errorf("no --state-dir was given, so it is not known whether a journal needs key %d: give --state-dir for each worker and exchanger; "+
		"where they are on other hosts run freshet keys rewrap --verify --state-dir DIR there, and then this with --force", id)
}

// replaceKeyset keeps the keyset of before, for whoever types this alone, and puts the new one in its place, for those who had it.
func (c *cli) replaceKeyset(file string, before, after []byte) error {
	err := replace.File(file+".old", before)
	if err == nil {
		err = replace.Content(file, after)
	}
	if errors.Is(err, replace.ErrOwner) {
		fmt.Fprintln(c.err, "freshet: WARNING:", err)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("replace keyset: %w", err)
	}
	return nil
}
