package main

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/telemetry"
)

// show is which command shows what it does.
type show struct {
	command string
	log     zerolog.Logger
}

// shown runs work with what the flags say about metrics and spans.
func shown(ctx context.Context, shows *flags.Telemetry, s show, work func(context.Context, *telemetry.Telemetry) error) error {
	cfg, err := shows.Config("freshet-"+s.command, app.Version(), s.log)
	if err != nil {
		return err
	}
	return telemetry.Run(ctx, cfg, work)
}
