package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
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

// readToken reads a token, and asks for a newer one where it is too old.
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
	t, err := getToken(ctx, client, cred)
	if err != nil && !errors.Is(err, tokens.ErrExpired) {
		return t, err
	}
	if err == nil && (t.ExpiresAt.IsZero() || time.Until(t.ExpiresAt) >= minTTL) {
		return t, nil
	}
	if _, err := c.demand(ctx, b, cred, refresh.Job{Reason: events.ReasonDemand, NewerThan: t.Version}); err != nil {
		return t, err
	}
	if t, err = getToken(ctx, client, cred); err != nil {
		return t, err
	}
	if left := time.Until(t.ExpiresAt); !t.ExpiresAt.IsZero() && left < minTTL {
		return t, fmt.Errorf("a new token of %s lives %s, shorter than --min-ttl %s", cred, left.Round(time.Second), minTTL)
	}
	return t, nil
}

func getToken(ctx context.Context, client *tokens.Client, cred events.Credential) (tokens.Token, error) {
	got, err := client.Get(ctx, cred.String())
	if err != nil {
		return tokens.Token{}, err
	}
	return got[0].Token, got[0].Err
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
