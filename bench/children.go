package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/bench/contest/asynqjobs"
	"github.com/freshetdev/freshet/bench/contest/bare"
	"github.com/freshetdev/freshet/bench/contest/casloop"
	"github.com/freshetdev/freshet/bench/contest/floor"
	"github.com/freshetdev/freshet/bench/contest/fresh"
	"github.com/freshetdev/freshet/bench/contest/redislock"
	"github.com/freshetdev/freshet/bench/contest/riverjobs"
	"github.com/freshetdev/freshet/internal/authserver"
)

// The authorization server's endpoints.
const (
	strict = "strict"
	static = "none"  // refresh tokens stay the same
	slow   = "slow"  // strict, and takes 300 ms
	brief  = "brief" // strict, with tokens that are due again soon
	slowBy = 300 * time.Millisecond
)

// The endpoints of those whose workers are killed: strict, each with a ledger of its own, and slow enough for a worker to
// be killed while it waits for an answer.
const (
	lossyOnes = 6
	lossyBy   = 20 * time.Millisecond
)

func lossy(i int) string { return fmt.Sprintf("lossy-%d", i) }

func endpoints() []authd.Endpoint {
	list := []authd.Endpoint{
		{Name: strict, Rotation: authserver.RotationStrict},
		{Name: static, Rotation: authserver.RotationNone},
		{Name: slow, Rotation: authserver.RotationStrict, Latency: slowBy},
	}
	for i := range lossyOnes {
		list = append(list, authd.Endpoint{Name: lossy(i), Rotation: authserver.RotationStrict, Latency: lossyBy})
	}
	return list
}

// authdName is the authorization server's process.
const authdName = "authd"

// child runs one of this program's own worker processes, as contest.Env.Child starts them.
func child(args []string) error {
	run := map[string]func(arg string, in io.Reader, out io.Writer) error{
		authdName:          func(_ string, in io.Reader, out io.Writer) error { return authd.Serve(endpoints(), in, out) },
		bare.Name:          bare.Child,
		fresh.EmbeddedName: fresh.Embedded,
		casloop.Name:       casloop.Child,
		floor.Name:         floor.Child,
		redislock.Name:     redislock.Child,
		asynqjobs.Name:     asynqjobs.Child,
		riverjobs.Name:     riverjobs.Child,
	}
	if len(args) != 2 || run[args[0]] == nil {
		return fmt.Errorf("no such child: %q", args)
	}
	return run[args[0]](args[1], os.Stdin, os.Stdout)
}
