package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/agent"
	"github.com/freshetdev/freshet/internal/credhelper"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func (c *cli) credentialHelperCommand() *cobra.Command {
	return group("credential-helper", "Be the credential helper of another program", `  git config --global credential.helper '!freshet credential-helper git --host github.com=github/alice'
  freshet credential-helper kubernetes acme/alice`, c.gitCommand(), c.kubernetesCommand())
}

// asking is how a helper gets at tokens.
type asking struct {
	agent string
	scope string
	wait  time.Duration
}

func (a *asking) register(c *cli, cmd *cobra.Command) {
	c.keys.RegisterAccess(cmd.Flags())
	cmd.Flags().StringVar(&a.agent, "agent", "", "`address` of a running agent, unix://PATH; by default $XDG_RUNTIME_DIR/"+agentSocket+". Without one NATS is asked")
	flags.Own(cmd.Flags(), "agent")
	cmd.Flags().DurationVar(&a.wait, "wait", 15*time.Second, "how long to wait for a token")
	scopeFlag(cmd.Flags(), &a.scope)
}

// from asks the agent, or NATS where there is none. The question is asked a second time only when the first reached nobody.
func (a *asking) from(ctx context.Context, c *cli, question func(context.Context, agent.Source) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.wait)
	defer cancel()
	if address := cmp.Or(a.agent, defaultAgent(os.Getenv)); address != "" {
		remote, err := agent.NewRemote(address)
		if err != nil {
			return usage(err)
		}
		if err := question(ctx, remote); !errors.Is(err, agent.ErrNoAgent) {
			return err
		} else if a.agent != "" {
			fmt.Fprintf(c.err, "freshet: %v; NATS is asked\n", err)
		}
	}
	read, done, err := c.openTokens(ctx, tokens.Config{Scope: a.scope}, zerolog.Nop(), nil)
	if err != nil {
		return err
	}
	defer done()
	return question(ctx, agent.Direct{Client: read.client})
}

func (c *cli) gitCommand() *cobra.Command {
	var ask asking
	var hosts []string
	var username string
	cmd := c.command("git get|store|erase", "Give git fresh tokens as passwords",
		`  git config --global credential.helper '!freshet credential-helper git --host github.com=github/alice'
  echo "host=github.com" | freshet credential-helper git --host github.com=github/alice get`, cobra.ExactArgs(1))
	cmd.Long = `A credential helper of git (gitcredentials(7)). A host that no --host names gets nothing, and git asks elsewhere. When a server
has refused a token, git says so, and a newer one is asked for, once for everybody who was refused.`
	ask.register(c, cmd)
	cmd.Flags().StringSliceVar(&hosts, "host", nil, "the credential of a host: `HOST[:PORT]=PROVIDER/ACCOUNT`")
	cmd.Flags().StringVar(&username, "username", "", "user name to go with the token; by default the one in the URL, else oauth2")
	flags.Env(cmd.Flags(), "host", "FRESHET_GIT_HOSTS")
	flags.Env(cmd.Flags(), "username", "FRESHET_GIT_USERNAME")
	cmd.ValidArgs = []string{"get", "store", "erase"}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		g, err := credhelper.ParseGit(hosts, username)
		if err != nil {
			return usage(err)
		}
		req, err := credhelper.ReadGit(c.in)
		if err != nil {
			return err
		}
		id, ok, err := g.Credential(req)
		if err != nil || !ok {
			return err
		}
		switch args[0] {
		case "get":
			return ask.from(cmd.Context(), c, func(ctx context.Context, s agent.Source) error { return c.gitGet(ctx, s, g, req, id) })
		case "erase":
			return ask.from(cmd.Context(), c, func(ctx context.Context, s agent.Source) error { return c.gitErase(ctx, s, req, id) })
		}
		return nil // gitcredentials(7): other operations are to be ignored; there is nothing to store
	}
	return cmd
}

func (c *cli) gitGet(ctx context.Context, s agent.Source, g credhelper.Git, req credhelper.GitRequest, id string) error {
	t, err := s.Token(ctx, id, 0)
	if err != nil {
		return err
	}
	answer, err := g.Answer(req, t)
	if err != nil {
		return err
	}
	_, err = c.out.Write(answer)
	return err
}

// gitErase asks for a newer token than the one that git was refused with, so that the next try has it.
func (c *cli) gitErase(ctx context.Context, s agent.Source, req credhelper.GitRequest, id string) error {
	if req["password"] == "" {
		return nil
	}
	_, err := s.Refused(ctx, id, req["password"])
	if errors.Is(err, tokens.ErrNotRenewed) {
		fmt.Fprintln(c.err, "freshet:", err)
		return nil
	}
	return err
}

func (c *cli) kubernetesCommand() *cobra.Command {
	var ask asking
	cmd := c.command("kubernetes PROVIDER/ACCOUNT", "Be the exec plugin of a Kubernetes client", "  freshet credential-helper kubernetes acme/alice", cobra.ExactArgs(1))
	cmd.Long = `An exec plugin of Kubernetes clients, such as kubectl: the command of users[].user.exec in a kubeconfig, with apiVersion
client.authentication.k8s.io/v1.`
	ask.register(c, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := events.ParseCredential(args[0]); err != nil {
			return err
		}
		return ask.from(cmd.Context(), c, func(ctx context.Context, s agent.Source) error {
			t, err := s.Token(ctx, args[0], 0)
			if err != nil {
				return err
			}
			answer, err := credhelper.Kubernetes(os.Getenv("KUBERNETES_EXEC_INFO"), t)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "%s\n", answer)
			return err
		})
	}
	return cmd
}
