package flags

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/pkg/seal"
)

// ReloadOnHangup makes a SIGHUP read the keysets anew, into those that were loaded; nil leaves one out. Where one of them cannot be
// read both stay as they are. stop ends that, and waits.
func (k *Keysets) ReloadOnHangup(log zerolog.Logger, grant, access *seal.Keyset) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range signals {
			if err := k.reload(grant, access); err != nil {
				log.Error().Err(err).Msg("keysets stay as they were")
				continue
			}
			log.Info().Msg("keysets read anew")
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

func (k *Keysets) reload(grant, access *seal.Keyset) error {
	var next [2]*seal.Keyset
	var err1, err2 error
	if grant != nil {
		next[0], err1 = k.Grant()
	}
	if access != nil {
		next[1], err2 = k.Access()
	}
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for i, loaded := range []*seal.Keyset{grant, access} {
		if loaded != nil {
			loaded.Replace(next[i])
		}
	}
	return nil
}
