package flags

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/pkg/seal"
)

// ReloadOnHangup makes a SIGHUP read the keysets anew, into those that were loaded; nil leaves one out. Where one of them cannot be
// read both stay as they are. The log names the keys by id. stop ends that, and waits.
func (k *Keysets) ReloadOnHangup(log zerolog.Logger, grant, access *seal.Keyset) (stop func()) {
	loaded := k.loaded(grant, access)
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range signals {
			reload(log, loaded)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// loaded is a keyset in use, with where it is read from.
type loaded struct {
	which string
	keys  *seal.Keyset
	load  func() (*seal.Keyset, error)
	from  origin
}

func (k *Keysets) loaded(grant, access *seal.Keyset) (all []loaded) {
	add := func(which, file string, keys *seal.Keyset, load func() (*seal.Keyset, error)) {
		if keys != nil {
			from, _ := k.origin(which, file) // a fault is said by load
			all = append(all, loaded{which, keys, load, from})
		}
	}
	add("grant", k.GrantFile, grant, k.Grant)
	add("access", k.AccessFile, access, k.Access)
	return all
}

// reload says what has come of it: whoever rotates keys goes on once every process has the new one, and rewrap would take a process out
// of service that kept the old one alone.
func reload(log zerolog.Logger, all []loaded) {
	changed, err := replaceAll(all)
	if err != nil {
		log.Error().Err(err).Msg("keysets stay as they were")
		return
	}
	said := log.Info()
	if !changed {
		said = log.Warn()
	}
	for _, l := range all {
		said = said.Uints32(l.which+"_keys", l.keys.KeyIDs()).Uint32(l.which+"_primary", l.keys.PrimaryID())
		if !changed {
			said = said.Str(l.which+"_keyset", l.from.stays())
		}
	}
	if changed {
		said.Msg("keysets read anew")
		return
	}
	said.Msg("the hangup changed nothing: the keysets have the keys that they had")
}

// replaceAll reads all keysets, then puts them in place, and reports whether one has other keys than before.
func replaceAll(all []loaded) (changed bool, err error) {
	next := make([]*seal.Keyset, len(all))
	for i, l := range all {
		var fault error
		next[i], fault = l.load()
		err = errors.Join(err, fault)
	}
	if err != nil {
		return false, err
	}
	for i, l := range all {
		changed = changed || !slices.Equal(l.keys.Keys(), next[i].Keys())
		l.keys.Replace(next[i])
	}
	return changed, nil
}

// stays says why a keyset is what it was, and what to do.
func (o origin) stays() string {
	switch {
	case o.variable != "":
		return fmt.Sprintf("%s is that of the start: restart with the new one", o.variable)
	case o.credential != "":
		return "systemd handed the credential over at the start: restart the unit"
	}
	return fmt.Sprintf("%s has the same keys; if it should have others, give it the new content, and restart a container that has it as a mount", o.named)
}
