package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/fleet"
)

// series is something that must not grow, over time.
type series struct {
	name, unit string
	// settles is how long it may grow at first: until what is kept for a while is kept in full.
	settles time.Duration
	// slack is how much it may seem to have grown besides a tenth of itself: garbage is collected, files are compacted.
	slack  float64
	at     []time.Duration
	values []float64
}

const (
	// keptByWorkers: a journal keeps an outcome for 150 s after its commit, and drops a file when all in it are gone.
	keptByWorkers = 5 * time.Minute
	// keptByNATS: the events stream remembers ids for 10 minutes, and here keeps the events as long.
	keptByNATS = 11 * time.Minute
)

// soakSeries lists what is sampled, in the order of the columns.
func soakSeries() []*series {
	const garbage = 16 // MiB
	return []*series{
		{name: "worker", unit: "MiB", settles: keptByWorkers, slack: garbage},
		{name: "scheduler", unit: "MiB", settles: time.Minute, slack: garbage},
		{name: "nats-server", unit: "MiB", settles: keptByNATS, slack: 2 * garbage},
		{name: "goroutines", settles: 8 * time.Second, slack: 5 * soakConcurrency},
		{name: "journals", unit: "MiB", settles: keptByWorkers, slack: 2 * garbage},
		{name: "bucket", unit: "MiB", settles: 8 * time.Second, slack: 0.5},
		{name: "its files", unit: "MiB", settles: time.Minute, slack: garbage},
	}
}

const mebibyte = 1 << 20

// look adds a sample to each series.
func (s *soaking) look(ctx context.Context, at time.Duration) error {
	bucket, err := s.bucket(ctx)
	if err != nil {
		return err
	}
	journals := 0.0
	for _, w := range []string{"worker-1", "worker-2"} {
		journals += filesOf(s.state(w), "journal")
	}
	for i, v := range []float64{
		resident(s.worker), resident(s.sched), resident(s.NATS.Process), float64(runtime.NumGoroutine()),
		journals, bucket, filesOf(filepath.Join(s.dir, "store"), s.Broker.Names().TokensStream()),
	} {
		s.series[i].add(at, v)
	}
	return nil
}

// bucket is what the records' stream says it measures, in MiB.
func (s *soaking) bucket(ctx context.Context) (float64, error) {
	stream, err := s.Broker.JetStream().Stream(ctx, s.Broker.Names().TokensStream())
	if err != nil {
		return 0, err
	}
	return float64(stream.CachedInfo().State.Bytes) / mebibyte, nil
}

// resident is the memory of a process in MiB, as Linux knows it; 0 elsewhere.
func resident(p *fleet.Process) float64 {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.ID()), "status"))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseFloat(string(fields[0]), 64)
	if err != nil {
		return 0
	}
	return kib / 1024
}

// filesOf is what the files of a stream measure in MiB. Some go while we look.
func filesOf(store, stream string) float64 {
	var sum int64
	_ = filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || !strings.Contains(path, string(filepath.Separator)+stream+string(filepath.Separator)) {
			return err
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return float64(sum) / mebibyte
}

func (s *series) add(at time.Duration, v float64) {
	s.at, s.values = append(s.at, at), append(s.values, v)
}

func (s *series) last() float64 { return s.values[len(s.values)-1] }

func sampleHead(all []*series) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%8s %10s %7s", "at", "rotations", "each s")
	for _, s := range all {
		fmt.Fprintf(&b, " %11s", s.name)
	}
	return b.String()
}

func sampleLine(at time.Duration, rotations int64, rate float64, all []*series) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%8s %10d %7.0f", at.Round(time.Second), rotations, rate)
	for _, s := range all {
		fmt.Fprintf(&b, " %11.1f", s.last())
	}
	return b.String()
}

// enoughSamples are what a slope is taken of at least.
const enoughSamples = 4

// judge fits a line through what was sampled after the first while, and says whether it rises. Where there is too little
// of it, nothing is judged.
func (s *series) judge() (text string, err error) {
	first := 0
	for first < len(s.at) && s.at[first] < s.settles {
		first++
	}
	at, values := s.at[first:], s.values[first:]
	if len(at) < enoughSamples {
		return fmt.Sprintf("not judged: it settles within %v, and %d samples came later", s.settles, len(at)), nil
	}
	mean, slope := fit(at, values)
	window := at[len(at)-1] - at[0]
	grown := slope * window.Seconds()
	text = fmt.Sprintf("%.1f %s on average after %v, %+.1f in the %v since", mean, s.unit, s.settles, grown, window.Round(time.Second))
	if allowed := mean/10 + s.slack; grown > allowed {
		return text, fmt.Errorf("%s grew by %.1f %s in %v, more than the %.1f that chance may bring", s.name, grown, s.unit, window.Round(time.Second), allowed)
	}
	return text, nil
}

// fit returns the mean, and by least squares how much the values rise in a second.
func fit(at []time.Duration, values []float64) (mean, slope float64) {
	n := float64(len(at))
	var sumT, sumV float64
	for i := range at {
		sumT += at[i].Seconds()
		sumV += values[i]
	}
	var rise, run float64
	for i := range at {
		dt := at[i].Seconds() - sumT/n
		rise += dt * (values[i] - sumV/n)
		run += dt * dt
	}
	return sumV / n, rise / run
}
