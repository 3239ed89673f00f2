package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func (c *cli) tokenCommand() *cobra.Command {
	var minTTL, wait time.Duration
	cmd := c.command("token PROVIDER/ACCOUNT", "Print an access token", `  curl -H "Authorization: Bearer $(freshet token acme/alice)" https://api.example.com/
  freshet token acme/alice --min-ttl 5m`, cobra.ExactArgs(1))
	c.keys.Register(cmd.Flags())
	cmd.Flags().DurationVar(&minTTL, "min-ttl", 0, "ask for a refresh first when the token lives shorter than this, and wait for it")
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait for a newer token")
	c.outputFlag(cmd, formRaw, formJSON)
	cmd.RunE = c.onCredential(func(ctx context.Context, b *broker.Broker, cred events.Credential) error {
		ctx, cancel := context.WithTimeout(ctx, wait+c.common.NATS.Timeout)
		defer cancel()
		t, err := c.readToken(ctx, b, cred, minTTL)
		if err != nil {
			return err
		}
		return c.printToken(t)
	})
	return cmd
}

// formRaw prints the bare token.
const formRaw = "raw"

// readToken reads a token, and has it renewed first where it lives too short.
func (c *cli) readToken(ctx context.Context, b *broker.Broker, cred events.Credential, minTTL time.Duration) (tokens.Token, error) {
	k, err := c.keys.Access()
	if err != nil {
		return tokens.Token{}, err
	}
	client, err := tokens.Open(ctx, b.Conn(), tokens.Config{Namespace: c.common.Namespace, AccessKeyset: k, Domain: c.common.NATS.JSDomain, APIPrefix: c.common.NATS.JSAPIPrefix})
	if err != nil {
		return tokens.Token{}, err
	}
	defer client.Close()
	return client.TokenFor(ctx, cred.String(), minTTL)
}

func (c *cli) printToken(t tokens.Token) error {
	if c.output == formJSON {
		return printJSON(c.out, map[string]any{
			"access_token": t.AccessToken.Reveal(), "token_type": t.TokenType, "expires_at": t.ExpiresAt, "version": t.Version,
		})
	}
	_, err := fmt.Fprintln(c.out, t.AccessToken.Reveal())
	return err
}
