package flags_test

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/freshetdev/freshet/internal/flags"
)

// parse reads a command line, then the environment, into the settings that every command shares.
func parse(t *testing.T, env map[string]string, args ...string) (flags.Common, flags.Keysets, error) {
	t.Helper()
	var c flags.Common
	var k flags.Keysets
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.Register(fs)
	k.Register(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatalf("parse %q: %v", args, err)
	}
	err := flags.FromEnv(fs, func(name string) string { return env[name] })
	return c, k, err
}

func TestAFlagGoesBeforeTheVariableAndThatBeforeTheDefault(t *testing.T) {
	t.Parallel()
	type env = map[string]string
	for name, c := range map[string]struct {
		env  env
		args []string
		get  func(flags.Common, flags.Keysets) any
		want any
	}{
		"default":                {nil, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Timeout }, 5 * time.Second},
		"variable":               {env{"NATS_TIMEOUT": "9s"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Timeout }, 9 * time.Second},
		"flag":                   {env{"NATS_TIMEOUT": "9s"}, []string{"--timeout", "2s"}, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Timeout }, 2 * time.Second},
		"an empty variable":      {env{"NATS_TIMEOUT": ""}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Timeout }, 5 * time.Second},
		"an empty flag counts":   {env{"FRESHET_NAMESPACE": "staging"}, []string{"--namespace", ""}, func(c flags.Common, _ flags.Keysets) any { return c.Namespace }, ""},
		"own variable":           {env{"FRESHET_NAMESPACE": "staging"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.Namespace }, "staging"},
		"log level":              {env{"FRESHET_LOG_LEVEL": "debug"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.LogLevel }, "debug"},
		"server":                 {env{"NATS_URL": "a:1"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Server }, "a:1"},
		"user":                   {env{"NATS_USER": "u"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.User }, "u"},
		"password":               {env{"NATS_PASSWORD": "p"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Password }, "p"},
		"creds":                  {env{"NATS_CREDS": "f"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Creds }, "f"},
		"nkey":                   {env{"NATS_NKEY": "f"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.NKey }, "f"},
		"certificate":            {env{"NATS_CERT": "f"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.TLSCert }, "f"},
		"key":                    {env{"NATS_KEY": "f"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.TLSKey }, "f"},
		"certificate authority":  {env{"NATS_CA": "f"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.TLSCA }, "f"},
		"context":                {env{"NATS_CONTEXT": "x"}, nil, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Context }, "x"},
		"grant keyset":           {env{"FRESHET_GRANT_KEYSET_FILE": "g"}, nil, func(_ flags.Common, k flags.Keysets) any { return k.GrantFile }, "g"},
		"access keyset":          {env{"FRESHET_ACCESS_KEYSET_FILE": "a"}, nil, func(_ flags.Common, k flags.Keysets) any { return k.AccessFile }, "a"},
		"keyset flag":            {env{"FRESHET_GRANT_KEYSET_FILE": "g"}, []string{"--grant-keyset", "h"}, func(_ flags.Common, k flags.Keysets) any { return k.GrantFile }, "h"},
		"context flag, not URL":  {env{"NATS_URL": "a:1"}, []string{"--context", "x"}, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Server }, ""},
		"context flag, not user": {env{"NATS_USER": "u"}, []string{"--context", "x"}, func(c flags.Common, _ flags.Keysets) any { return c.NATS.User }, ""},
		"server flag, not the context's variable": {env{"NATS_CONTEXT": "x"}, []string{"-s", "a:1"}, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Context }, ""},
		"server flag, the creds' variable":        {env{"NATS_CREDS": "f"}, []string{"-s", "a:1"}, func(c flags.Common, _ flags.Keysets) any { return c.NATS.Creds }, "f"},
	} {
		common, keys, err := parse(t, c.env, c.args...)
		if got := c.get(common, keys); err != nil || got != c.want {
			t.Errorf("%s: got %v (%v), want %v", name, got, err, c.want)
		}
	}
}

func TestBadVariablesAreAllReportedWithoutTheirValues(t *testing.T) {
	t.Parallel()
	var c flags.Common
	var replicas int
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.Register(fs)
	fs.IntVar(&replicas, "re-plicas", 0, "")
	flags.Own(fs, "re-plicas")
	_ = fs.Parse(nil)
	err := flags.FromEnv(fs, func(name string) string {
		return map[string]string{"NATS_TIMEOUT": "canary-1", "FRESHET_RE_PLICAS": "canary-2"}[name]
	})
	for _, want := range []string{"NATS_TIMEOUT", "duration", "FRESHET_RE_PLICAS", "int"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Errorf("error shows a value: %v", err)
	}
}

func TestTheHelpNamesTheVariable(t *testing.T) {
	t.Parallel()
	var c flags.Common
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.Register(fs)
	for flag, variable := range map[string]string{"server": "$NATS_URL", "context": "$NATS_CONTEXT", "namespace": "$FRESHET_NAMESPACE"} {
		if usage := fs.Lookup(flag).Usage; !strings.Contains(usage, variable) {
			t.Errorf("help of --%s is %q, without %s", flag, usage, variable)
		}
	}
}

func TestDefaultName(t *testing.T) {
	t.Parallel()
	if flags.DefaultName() == "" {
		t.Error("no host name")
	}
}
