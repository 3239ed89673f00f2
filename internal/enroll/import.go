package enroll

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// ImportConfig describes one import. Reader, Writer and Provider are required.
type ImportConfig struct {
	// Reader gives JSON lines of at most MaxImportLine bytes:
	//
	//	{"provider":"acme","account":"alice","refresh_token":"…","access_token":"…","expires_at":"2026-01-02T15:04:05Z","scopes":["a"]}
	//
	// One of the two tokens is enough, and neither is needed where the provider's grant type re-mints; there "subject" may
	// name another one than the account. Without expires_at an access token has the provider's default lifetime from
	// now on. Blank lines are skipped. A Read that blocks holds up the end of ctx; whoever can, closes the input.
	//
	// In FormatCSV the first line names the columns as the members are named here, and scopes are separated by blanks.
	Reader io.Reader
	Format Format // default FormatJSONL
	Writer *Writer
	// Provider returns a definition with its defaults; ok is false for a provider that nobody has applied.
	Provider func(name string) (d *provider.Definition, ok bool)
	// Concurrency is how many grants are written at once; default 256.
	Concurrency int
	// Progress hears how many lines were imported and how many were bad, after each line. nil: nobody does.
	Progress func(done, bad int)
	// Stored hears of each grant that is stored, from many goroutines. nil: nobody does.
	Stored func(events.Credential)
	// Plan hears what would become of each good line, in no particular order, and nothing is written. nil: it is done.
	Plan func(Planned)
	// Reject hears of each bad line, in no particular order. nil: they are only counted.
	Reject func(LineError)
}

func (c ImportConfig) withDefaults() ImportConfig {
	c.Concurrency = cmp.Or(c.Concurrency, 256)
	if c.Progress == nil {
		c.Progress = func(int, int) {}
	}
	if c.Stored == nil {
		c.Stored = func(events.Credential) {}
	}
	if c.Reject == nil {
		c.Reject = func(LineError) {}
	}
	return c
}

// LineError says what is wrong with one line. It never shows token material.
type LineError struct {
	Line int // counted from 1
	Err  error
}

// Error implements error.
func (e LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns Err.
func (e LineError) Unwrap() error { return e.Err }

// Planned is what an import would do with a line.
type Planned struct {
	Line       int
	Credential events.Credential
	// Generation and State are those of the record that is there; 0 and "" where there is none.
	Generation uint64
	State      refresh.State
}

// Report is what became of an import.
type Report struct {
	Imported int // or would be, where Plan is set
	Bad      int
	// LastLine is the last line that was read. All lines up to it are imported, bad or blank, and none after it is touched.
	LastLine int
}

// Import enrols a grant for each line. A bad line is reported and the rest goes on: bad are a line that is no such object,
// an unknown provider, a credential that an earlier line has named (the earlier one counts), and a grant that its record has no
// place for. It keeps eight bytes and a line number for each credential of the input, and nothing else that grows.
//
// The import stops at the end of ctx, or when the store or the reader fails: no further line is read, those in hand are
// finished, and the error says after which line it stopped. What is imported stays; importing it again gives each
// credential another generation.
func Import(ctx context.Context, cfg ImportConfig) (Report, error) {
	cfg = cfg.withDefaults()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	im := &importer{cfg: cfg, seed: maphash.MakeSeed(), seen: make(map[uint64]int), parse: parseJSON}
	if cfg.Format == FormatCSV {
		im.parse = nil // the header says how
	}
	lines, results := make(chan importLine), make(chan LineError, cfg.Concurrency)
	var work sync.WaitGroup
	work.Go(func() {
		defer close(lines)
		im.read(ctx, lines, results, stop)
	})
	for range cfg.Concurrency {
		work.Go(func() { im.write(context.WithoutCancel(ctx), lines, results, stop) })
	}
	go func() {
		work.Wait()
		close(results)
	}()
	im.count(results)
	im.report.LastLine = im.lines
	if err := context.Cause(ctx); err != nil {
		return im.report, fmt.Errorf("import stopped after line %d: %w", im.lines, err)
	}
	return im.report, nil
}

// importer is one import at work. The reading goroutine owns parse, seen and lines, the counting one report.
type importer struct {
	cfg    ImportConfig
	parse  func(data []byte) (importLine, error) // nil: the next line is a header
	seed   maphash.Seed
	seen   map[uint64]int // the line of each credential, by hash
	lines  int
	report Report

	planning sync.Mutex // Plan is called by one at a time
}

// read parses lines and hands the good ones on, until the input or ctx ends.
func (im *importer) read(ctx context.Context, lines chan<- importLine, results chan<- LineError, stop context.CancelCauseFunc) {
	in := newLineReader(im.cfg.Reader)
	for ctx.Err() == nil {
		data, err := in.next()
		if err != nil && !errors.Is(err, errLineTooLong) {
			if !errors.Is(err, io.EOF) {
				stop(fmt.Errorf("read input: %w", err))
			}
			return
		}
		im.lines = in.n
		if in.n == 1 {
			data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
		}
		if err == nil && len(bytes.TrimSpace(data)) == 0 {
			continue
		}
		if im.parse == nil {
			if err := im.readHeader(data, err); err != nil {
				stop(err)
				return
			}
			continue
		}
		line, err := im.check(in.n, data, err)
		if err != nil {
			results <- LineError{in.n, err}
			continue
		}
		lines <- line
	}
}

func (im *importer) readHeader(data []byte, err error) error {
	if err != nil {
		return err
	}
	header, err := newCSVHeader(data)
	im.parse = header.parse
	return err
}

// check parses a line and holds it against the providers and the lines before it.
func (im *importer) check(number int, data []byte, err error) (importLine, error) {
	if err != nil {
		return importLine{}, err
	}
	line, err := im.parse(data)
	if err != nil {
		return line, err
	}
	line.number = number
	d, ok := im.cfg.Provider(line.credential.Provider)
	if !ok {
		return line, fmt.Errorf("provider %q is not known: apply it first", line.credential.Provider)
	}
	if _, err := line.grant.of(d, line.credential.Account); err != nil {
		return line, err
	}
	hash := maphash.String(im.seed, line.credential.Key())
	if first := im.seen[hash]; first != 0 {
		return line, fmt.Errorf("%s is on line %d already, which counts", line.credential, first)
	}
	im.seen[hash] = number
	return line, nil
}

// write enrols lines until there are none left. A store that fails stops the reading.
func (im *importer) write(ctx context.Context, lines <-chan importLine, results chan<- LineError, stop context.CancelCauseFunc) {
	for line := range lines {
		err := im.enroll(ctx, line)
		if err != nil && !ofThisLine(err) {
			stop(LineError{line.number, err})
		}
		results <- LineError{line.number, err}
	}
}

func (im *importer) enroll(ctx context.Context, line importLine) error {
	d, ok := im.cfg.Provider(line.credential.Provider)
	if !ok {
		return fmt.Errorf("provider %q is not known any more", line.credential.Provider)
	}
	if im.cfg.Plan != nil {
		return im.plan(ctx, d, line)
	}
	w := im.cfg.Writer
	stored, err := w.store(ctx, d, line.credential, line.grant, w.create)
	if err == nil {
		im.cfg.Stored(line.credential)
		_ = w.tell(ctx, stored) // it is stored, and schedulers tell
	}
	return err
}

// plan says what enroll would do.
func (im *importer) plan(ctx context.Context, d *provider.Definition, line importLine) error {
	g, err := line.grant.of(d, line.credential.Account)
	if err != nil {
		return err
	}
	have, err := im.cfg.Writer.read(ctx, line.credential)
	if err != nil {
		return err
	}
	if e := (enrolment{writer: im.cfg.Writer, grant: g}); e.loses(&have.Record) {
		return ErrNoRefreshToken
	}
	im.planning.Lock()
	defer im.planning.Unlock()
	im.cfg.Plan(Planned{Line: line.number, Credential: line.credential, Generation: have.Record.Generation, State: have.Record.State})
	return nil
}

// ofThisLine reports whether an error says nothing about the lines to come.
func ofThisLine(err error) bool {
	for _, target := range []error{refresh.ErrMalformed, refresh.ErrTooLarge, refresh.ErrConflict, ErrNoTokens, ErrReminted, ErrNoSubject, ErrNoRefreshToken, ErrTaken, events.ErrName} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// count takes results until there are none left; those without an error are imported.
func (im *importer) count(results <-chan LineError) {
	for r := range results {
		if r.Err == nil {
			im.report.Imported++
		} else {
			im.report.Bad++
			im.cfg.Reject(r)
		}
		im.cfg.Progress(im.report.Imported, im.report.Bad)
	}
}
