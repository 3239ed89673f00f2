// Package flags holds the flags that the commands share: how to reach NATS (with the names and variables of the nats
// command line), which namespace, which keysets, how to log.
//
// A setting comes from the flag, else from its environment variable, else from a file that another setting names (a NATS
// context), else it has its default. A flag that says the same thing in another way goes before the variable:
// with --context on the command line, NATS_URL and its kin are not read, and with --server NATS_CONTEXT is not. Two
// that contradict each other on the same footing are an error, never a silent choice.
//
// Concurrency: nothing here is safe for concurrent use; flags are read once, at the start.
package flags

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"
)

const (
	// envAnnotation marks a flag with the environment variable that stands in for it.
	envAnnotation = "freshet-env"
	// insteadAnnotation marks a flag with those whose variables it puts out of force.
	insteadAnnotation = "freshet-instead"
)

// Env says that the variable stands in for the flag, and shows it in the flag's help.
func Env(fs *pflag.FlagSet, flag, variable string) {
	fs.Lookup(flag).Usage += " ($" + variable + ")"
	annotate(fs, flag, envAnnotation, variable)
}

// instead says that the flag, on the command line, puts the variables of others out of force.
func instead(fs *pflag.FlagSet, flag string, others ...string) {
	annotate(fs, flag, insteadAnnotation, others...)
}

func annotate(fs *pflag.FlagSet, flag, key string, values ...string) {
	f := fs.Lookup(flag)
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[key] = values
}

// FromEnv fills every flag that was not given on the command line from its variable. All bad values are reported
// at once, by the variable's name.
func FromEnv(fs *pflag.FlagSet, getenv func(string) string) error {
	var replaced []string
	fs.Visit(func(f *pflag.Flag) { replaced = append(replaced, f.Annotations[insteadAnnotation]...) })
	var faults []error
	fs.VisitAll(func(f *pflag.Flag) {
		names := f.Annotations[envAnnotation]
		if len(names) == 0 || f.Changed || slices.Contains(replaced, f.Name) {
			return
		}
		value := getenv(names[0])
		if value == "" {
			return
		}
		// The value is not repeated: a variable may hold a secret that was meant for another.
		if fs.Set(f.Name, value) != nil {
			faults = append(faults, fmt.Errorf("environment variable %s: want a %s", names[0], f.Value.Type()))
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
