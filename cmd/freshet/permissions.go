package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/permissions"
	"github.com/freshetdev/freshet/pkg/events"
)

func (c *cli) permissionsCommand() *cobra.Command {
	var scope permissions.Scope
	var role, format, namespace string
	var dashboard bool
	cmd := &cobra.Command{
		Use: "permissions", Short: "Print what each role may do on NATS",
		Long: `Print the NATS permissions of a role, or of all roles with their accounts: as configuration of nats-server, as commands of nsc,
as values of the Helm chart of NATS, or as JSON. Everything that is not listed is refused.

--provider and --tenant narrow what a subject tells apart. What cannot be narrowed is marked. Each user has inboxes of its own,
so its clients need --inbox-prefix _INBOX_USER as well.`,
		Example: `  freshet permissions                   the accounts of a nats-server configuration
  freshet permissions --role worker --format nsc
  freshet permissions --role reader --user billing --provider acme --tenant tenant-7`,
		Args: usageArgs(cobra.NoArgs),
	}
	fs := cmd.Flags()
	fs.StringVar(&role, "role", "", "one of "+permissions.Words(permissions.Roles())+"; without, all of them")
	fs.StringVar(&format, "format", string(permissions.Conf), "one of "+permissions.Words(permissions.Formats()))
	fs.StringVar(&scope.Provider, "provider", "", "for this provider alone")
	fs.StringVar(&scope.Tenant, "tenant", "", "for accounts at and below this path alone; needs --provider")
	fs.StringVar(&scope.User, "user", "", "`name` of the NATS user, with --role; default: the role")
	fs.StringVar(&scope.Durable, "durable", "", "`name` of the durable consumer of a subscriber that is narrowed")
	fs.BoolVar(&dashboard, "dashboard", true, "with what the dashboard of freshet web reads, the list of all credentials among it")
	fs.StringVar(&namespace, "namespace", "", "prefix of every stream, bucket and subject")
	flags.Own(fs, "namespace")
	offerWords(cmd, "role", permissions.Roles())
	offerWords(cmd, "format", permissions.Formats())
	cmd.RunE = func(*cobra.Command, []string) (err error) {
		scope.NoDashboard = !dashboard
		if scope.Names, err = events.NewNames(namespace); err != nil {
			return err
		}
		if scope.User != "" && role == "" {
			return usage(errUserWithoutRole)
		}
		return usage(permissions.Write(c.out, permissions.Format(format), permissions.Role(role), scope))
	}
	return cmd
}

// errUserWithoutRole: six users cannot have one name.
var errUserWithoutRole = errors.New("--user names one user: give its --role")

// offerWords completes a flag.
func offerWords[T ~string](cmd *cobra.Command, flag string, all []T) {
	offered := strings.Split(permissions.Words(all), ", ")
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(offered, cobra.ShellCompDirectiveNoFileComp))
}
