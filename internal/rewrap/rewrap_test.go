package rewrap_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/internal/rewrap"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// house is a NATS server with one of everything that is sealed, under old keys, and the keysets with which it is rewrapped.
type house struct {
	*broker.Broker
	old           refresh.Keys
	grant, access *seal.Keyset
	oldID         uint32 // of the grant keyset
}

const credentials = 20

func newHouse(t *testing.T) *house {
	t.Helper()
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(natstest.Run(t, natstest.Options{})))...)
	must(t, err)
	t.Cleanup(nc.Close)
	h := new(house)
	h.Broker, err = broker.New(nc, broker.Config{})
	must(t, err)
	_, err = h.Setup(t.Context(), broker.SetupConfig{})
	must(t, err)
	h.old.Bucket = h.Names().TokensBucket()
	h.old.Grant, h.grant = promotion(t)
	h.old.Access, h.access = promotion(t)
	h.oldID = h.old.Grant.PrimaryID()

	d := provider.Definition{
		Name: "acme", ClientID: "dev", TokenURL: "https://acme.test/token", AuthURL: "https://acme.test/authorize", RevokeURL: "https://acme.test/revoke",
		ClientSecrets: []seal.Secret{seal.NewSecret("one"), seal.NewSecret("two")}, MovedFrom: []string{"https://acme.test/old"},
	}.WithDefaults()
	entry := provider.Entry{Definition: d}
	must(t, entry.SealSecrets(h.old.Grant, h.Names().ProvidersBucket()))
	_, err = h.PutProvider(t.Context(), "acme", entry, 0)
	must(t, err)
	w := enroll.Writer{Store: h, Teller: h.Publisher(), Keys: h.old}
	for i := range credentials {
		c := events.Credential{Provider: "acme", Account: fmt.Sprintf("user-%d", i)}
		_, err := w.Enroll(t.Context(), &d, c, enroll.NewGrant{
			RefreshToken: seal.NewSecret("refresh-" + c.Account), AccessToken: seal.NewSecret("access"), StartedAt: time.Now(), Lifetime: time.Hour,
		})
		must(t, err)
	}
	return h
}

func promotion(t *testing.T) (before, after *seal.Keyset) {
	t.Helper()
	data, err := seal.GenerateKeyset()
	must(t, err)
	data, _, err = seal.AddKey(data)
	must(t, err)
	before, err = seal.LoadKeyset(data)
	must(t, err)
	data, _, err = seal.PromoteKey(data)
	must(t, err)
	after, err = seal.LoadKeyset(data)
	must(t, err)
	return before, after
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantStale compares what still needs old keys, as "PLACE COUNT".
func (h *house) wantStale(t *testing.T, s *rewrap.Survey, want ...string) {
	t.Helper()
	var got []string
	for _, u := range s.Stale(h.grant, h.access) {
		got = append(got, fmt.Sprint(u.Place, " ", u.Count))
	}
	if !slices.Equal(got, want) {
		t.Errorf("stale: %q, want %q", got, want)
	}
}

func (h *house) survey(t *testing.T) *rewrap.Survey {
	t.Helper()
	s, err := rewrap.Take(t.Context(), h.Broker)
	must(t, err)
	return s
}

func TestRunRewrapsEverything(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	before := []string{"grants 20", "access tokens 20", "provider secrets 4"}
	h.wantStale(t, h.survey(t), before...)

	cfg := rewrap.Config{Broker: h.Broker, Grant: h.grant, Access: h.access, DryRun: true}
	n, err := rewrap.Run(t.Context(), cfg)
	if want := (rewrap.Counts{Seen: credentials, Records: credentials, Providers: 1}); n != want || err != nil {
		t.Errorf("would do %+v, %v; want %+v", n, err, want)
	}
	h.wantStale(t, h.survey(t), before...)

	// One keyset alone is enough for what it seals.
	n, err = rewrap.Run(t.Context(), rewrap.Config{Broker: h.Broker, Access: h.access})
	if n.Records != credentials || n.Providers != 0 || err != nil {
		t.Errorf("access tokens alone: %+v, %v", n, err)
	}
	h.wantStale(t, h.survey(t), "grants 20", "provider secrets 4")

	told := 0
	cfg.DryRun, cfg.Progress = false, func(rewrap.Counts) { told++ }
	n, err = rewrap.Run(t.Context(), cfg)
	if n.Records != credentials || n.Providers != 1 || n.Bad != 0 || err != nil || told < credentials {
		t.Errorf("did %+v, %v, told %d times", n, err, told)
	}
	h.wantStale(t, h.survey(t))
	e, _, err := h.Provider(t.Context(), "acme")
	must(t, err)
	must(t, e.OpenSecrets(h.grant, h.Names().ProvidersBucket()))
	if e.ClientSecrets == nil || e.Definition.ClientSecrets[1].Reveal() != "two" || e.Definition.MovedFrom[0] != "https://acme.test/old" || e.Unvouched != nil {
		t.Errorf("the provider's secrets became %+v", e)
	}
}

// A run that is cut off at any point goes on where it was, and says that it did not see everything.
func TestRunGoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	n, err := rewrap.Run(ctx, rewrap.Config{Broker: h.Broker, Grant: h.grant, Access: h.access, AtOnce: 2, Progress: func(n rewrap.Counts) {
		if n.Records == 5 {
			cut()
		}
	}})
	if !errors.Is(err, context.Canceled) || n.Records >= credentials {
		t.Fatalf("cut off: %+v, %v", n, err)
	}
	rest, err := rewrap.Run(t.Context(), rewrap.Config{Broker: h.Broker, Grant: h.grant, Access: h.access})
	if err != nil || rest.Records == 0 || rest.Records > credentials-5 {
		t.Errorf("the rest: %+v, %v", rest, err)
	}
	h.wantStale(t, h.survey(t))
}

// What does not open is named, once, and keeps nothing else from being rewrapped.
func TestRunNamesWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := events.Credential{Provider: "acme", Account: "user-7"}
	s, err := h.Get(t.Context(), c)
	must(t, err)
	s.Record.Grant[len(s.Record.Grant)-1] ^= 1
	_, err = h.Put(t.Context(), refresh.Write{Record: s.Record, Revision: s.Revision})
	must(t, err)
	_, err = h.Conn().Request(h.Names().RecordKeySubject("acme.garbled"), []byte("{"), time.Second)
	must(t, err)
	var faults []string
	n, err := rewrap.Run(t.Context(), rewrap.Config{
		Broker: h.Broker, Grant: h.grant, Access: h.access, Fault: func(err error) { faults = append(faults, err.Error()) },
	})
	if n.Records != credentials-1 || n.Bad != 2 || err != nil || len(faults) != 2 {
		t.Errorf("did %+v, %v; faults %q", n, err, faults)
	}
	if said := strings.Join(faults, "\n"); !strings.Contains(said, "rewrap acme/user-7") || !strings.Contains(said, "acme.garbled") {
		t.Errorf("faults %q", faults)
	}
	after := h.survey(t)
	h.wantStale(t, after, "grants 1", "access tokens 1")
	if len(after.Faults) != 1 {
		t.Errorf("the survey cannot read %v", after.Faults)
	}
}

func TestASurveyLooksIntoJournalsAndEnrolments(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, err := rewrap.Run(t.Context(), rewrap.Config{Broker: h.Broker, Grant: h.grant, Access: h.access})
	must(t, err)
	sealed := func(id, key string) []byte {
		e, err := h.old.SealOutcome(refresh.Ticket{Attempt: id, Key: key}, refresh.Outcome{})
		must(t, err)
		return e.Data
	}
	must(t, h.CreateEnrollment(t.Context(), "session_x_1", sealed("x", "session"), time.Minute))
	must(t, h.CreateEnrollment(t.Context(), "used_x", []byte("1"), time.Minute))

	worker, exchanger := t.TempDir(), t.TempDir()
	j := open(t, worker, "journal")
	for _, id := range []string{"pending", "recent", "aside", "retired"} {
		must(t, j.Append(journal.Entry{ID: id, Key: "acme.user-1", Data: sealed(id, "acme.user-1")}))
	}
	must(t, j.Committed("recent", 7))
	must(t, j.SetAside("aside", "too late"))
	must(t, j.Retire("retired"))
	x := open(t, exchanger, "replies")
	must(t, x.Append(journal.Entry{ID: "y", Key: "acme.user-2", Data: sealed("y", "acme.user-2")}))

	s := h.survey(t)
	must(t, s.AddJournal(worker))
	must(t, s.AddJournal(exchanger))
	h.wantStale(t, s, "enrolment sessions 1", "journal entries 3", "journal entries set aside 1")
	if uses := s.Of(h.oldID); len(uses) != 3 || uses[0].Example != "session_x_1" || uses[1].Example != "acme.user-1 in "+worker {
		t.Errorf("uses of the old key: %+v", uses)
	}
	if err := s.AddJournal(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory without a journal: %v", err)
	}
}

func open(t *testing.T, stateDir, name string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(filepath.Join(stateDir, name), journal.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, j.Close()) })
	return j
}
