// Package flags holds the flags that the commands share: how to reach NATS (with the names and variables of the nats
// command line), which namespace, which keysets, how to log. A setting comes from the flag, else from its
// environment variable, else it has its default.
package flags

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
)

// envAnnotation marks a flag with the environment variable that stands in for it.
const envAnnotation = "freshet-env"

// Env says that the variable stands in for the flag, and shows it in the flag's help.
func Env(fs *pflag.FlagSet, flag, variable string) {
	f := fs.Lookup(flag)
	f.Usage += " ($" + variable + ")"
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[envAnnotation] = []string{variable}
}

// FromEnv fills every flag that was not given on the command line from its variable. All bad values are reported
// at once, by the variable's name.
func FromEnv(fs *pflag.FlagSet, getenv func(string) string) error {
	var faults []error
	fs.VisitAll(func(f *pflag.Flag) {
		names := f.Annotations[envAnnotation]
		if len(names) == 0 || f.Changed {
			return
		}
		value := getenv(names[0])
		if value == "" {
			return
		}
		if err := fs.Set(f.Name, value); err != nil {
			faults = append(faults, fmt.Errorf("environment variable %s: %w", names[0], err))
		}
	})
	return errors.Join(faults...)
}

// Own registers the variable FRESHET_NAME for each of the named flags.
func Own(fs *pflag.FlagSet, flags ...string) {
	for _, name := range flags {
		Env(fs, name, "FRESHET_"+upperSnake(name))
	}
}

func upperSnake(s string) string {
	b := []byte(s)
	for i, ch := range b {
		switch {
		case ch == '-':
			b[i] = '_'
		case 'a' <= ch && ch <= 'z':
			b[i] = ch - 'a' + 'A'
		}
	}
	return string(b)
}

// HostName returns the machine's name for ids, "localhost" when it has none.
func HostName() string {
	if h, err := os.Hostname(); err == nil && h != "" {
		return h
	}
	return "localhost"
}
