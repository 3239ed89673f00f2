//go:build !freshet_faults

package main

import "github.com/freshetdev/freshet/pkg/refresh"

// holdAt holds nothing up in a worker that is meant to work. See hold_on.go.
func holdAt() func(refresh.Step) { return nil }
