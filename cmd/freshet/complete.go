package main

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider/catalogue"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// completeWithin is how long a person waits after a Tab before it is a nuisance.
	completeWithin = time.Second
	// maxOffered bounds what is offered; nobody reads more.
	maxOffered = 500
)

// completion offers what may follow.
type completion = cobra.CompletionFunc

// completeAll gives the commands their completions, by what their usage names. Names come from NATS; whatever goes wrong, nothing
// is offered and nothing said, as a shell would print it into the line that is being typed.
func (c *cli) completeAll(root *cobra.Command) {
	credentials := c.names(credentialNames)
	for cmd := range commands(root) {
		if cmd.ValidArgsFunction != nil || len(cmd.ValidArgs) > 0 {
			continue
		}
		switch arg := strings.TrimPrefix(cmd.Use, cmd.Name()); {
		case strings.Contains(arg, "PROVIDER[") || strings.Contains(arg, "PROVIDER |"):
			cmd.ValidArgsFunction = first(c.names(eitherNames))
		case strings.Contains(arg, "PROVIDER/ACCOUNT"):
			cmd.ValidArgsFunction = first(credentials)
		case strings.Contains(arg, "PROVIDER"):
			cmd.ValidArgsFunction = first(presetsOr(c.names(providerNames)))
		case !strings.Contains(arg, "[FILE]") && arg != " FILE" && !strings.Contains(arg, "COMMAND"): // there the shell's own files are meant
			cmd.ValidArgsFunction = nothing
		}
	}
	completeFlags(root, credentials)
}

// completeFlags does the same for the flags whose values are known.
func completeFlags(root *cobra.Command, credentials completion) {
	fixed := func(values ...string) completion {
		return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	}
	var types, rotations []string
	for _, t := range events.Types() {
		types = append(types, string(t))
	}
	for _, r := range []authserver.Rotation{authserver.RotationNone, authserver.RotationOverlap, authserver.RotationGrace, authserver.RotationUntilUsed, authserver.RotationStrict} {
		rotations = append(rotations, string(r))
	}
	known := map[string]completion{
		"log-level": fixed("debug", "info", "warn", "error"), "type": fixed(types...), "rotation": fixed(rotations...),
		"env": afterName(credentials), "host": afterName(credentials), "file": afterName(credentials),
		"store": directories, "dir": directories, "state-dir": directories,
	}
	for cmd := range commands(root) {
		for name, offer := range known {
			if f := cmd.Flags().Lookup(name); f != nil && (name != "file" || f.Value.Type() == "stringArray") { // elsewhere it is a file to read
				_ = cmd.RegisterFlagCompletionFunc(name, offer)
			}
		}
	}
}

// commands yields a command and all below it.
func commands(cmd *cobra.Command) func(yield func(*cobra.Command) bool) {
	return func(yield func(*cobra.Command) bool) {
		for todo := []*cobra.Command{cmd}; len(todo) > 0; {
			next := todo[0]
			if todo = append(todo[1:], next.Commands()...); !yield(next) {
				return
			}
		}
	}
}

func nothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func directories(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// first offers for the first argument only.
func first(offer completion) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nothing(cmd, args, typed)
		}
		return offer(cmd, args, typed)
	}
}

// afterName offers behind the first NAME=.
func afterName(offer completion) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		name, rest, ok := strings.Cut(typed, "=")
		if !ok {
			return nil, cobra.ShellCompDirectiveDefault
		}
		found, directive := offer(cmd, args, rest)
		for i := range found {
			found[i] = name + "=" + found[i]
		}
		return found, directive
	}
}

// lookup finds names that begin with what was typed.
type lookup func(ctx context.Context, b *broker.Broker, typed string) ([]string, error)

// names offers what a lookup finds, within a short time.
func (c *cli) names(find lookup) completion {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		if flags.FromEnv(cmd.Flags(), os.Getenv) != nil {
			return nothing(cmd, nil, typed)
		}
		c.common.NATS.Timeout = completeWithin
		b, done, err := c.connect()
		if err != nil {
			return nothing(cmd, nil, typed)
		}
		defer done()
		found, err := find(ctx, b, typed)
		if err != nil {
			return nothing(cmd, nil, typed)
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if len(found) == 1 && strings.HasSuffix(found[0], "/") {
			directive |= cobra.ShellCompDirectiveNoSpace // there is more to type
		}
		return found[:min(len(found), maxOffered)], directive
	}
}

// providerNames are the providers.
func providerNames(ctx context.Context, b *broker.Broker, typed string) ([]string, error) {
	all, err := b.Providers(ctx)
	return beginning(slices.Sorted(maps.Keys(all)), typed), err
}

// eitherNames are providers first, then credentials.
func eitherNames(ctx context.Context, b *broker.Broker, typed string) ([]string, error) {
	found, err := credentialNames(ctx, b, typed)
	if err != nil || strings.Contains(typed, "/") {
		return found, err
	}
	names, err := providerNames(ctx, b, typed)
	return append(names, found...), err
}

// credentialNames are PROVIDER/ until there is a slash, then the provider's credentials.
func credentialNames(ctx context.Context, b *broker.Broker, typed string) ([]string, error) {
	provider, account, ok := strings.Cut(typed, "/")
	if !ok {
		names, err := providerNames(ctx, b, typed)
		for i := range names {
			names[i] += "/"
		}
		return names, err
	}
	if !events.ValidProvider(provider) {
		return nil, nil
	}
	filter := provider + ".>"
	if i := strings.LastIndexByte(account, '/'); i >= 0 { // what was typed whole narrows what is read
		filter = events.Credential{Provider: provider, Account: account[:i]}.Key() + ".>"
	}
	var names []string
	see := func(s broker.Seen) {
		cred, err := events.ParseKey(s.Key)
		if err == nil && !s.Gone && s.Summary.State != refresh.StateDeleted && strings.HasPrefix(cred.String(), typed) {
			names = append(names, cred.String())
		}
	}
	if err := b.WatchRecords(ctx, broker.WatchConfig{Filter: filter, Once: true}, see, func() {}); err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// presetsOr offers the catalogue where --preset was given.
func presetsOr(otherwise completion) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if preset, err := cmd.Flags().GetBool("preset"); err != nil || !preset {
			return otherwise(cmd, args, typed)
		}
		var names []string
		for _, p := range catalogue.All() {
			names = append(names, p.Name)
		}
		return beginning(names, typed), cobra.ShellCompDirectiveNoFileComp
	}
}

func beginning(names []string, typed string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, typed) })
}
