package events_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/events"
)

func TestFilterSubjects(t *testing.T) {
	t.Parallel()
	staging, err := events.NewNames("staging")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		names  events.Names
		filter events.Filter
		want   []string
	}{
		{"everything", events.Names{}, events.Filter{}, []string{"token.>", "provider.>"}},
		{"one type", events.Names{}, events.Filter{Types: []events.Type{events.TokenUpdated}}, []string{"token.updated.>"}},
		{
			"types, one twice", events.Names{},
			events.Filter{Types: []events.Type{events.TokenUpdated, events.ProviderPaused, events.TokenUpdated}},
			[]string{"provider.paused.>", "token.updated.>"},
		},
		{"a provider", events.Names{}, events.Filter{Provider: "acme"}, []string{"token.*.acme.>", "provider.*.acme"}},
		{
			"types of a provider", events.Names{},
			events.Filter{Types: []events.Type{events.TokenUpdated, events.ProviderResumed}, Provider: "acme"},
			[]string{"provider.resumed.acme", "token.updated.acme.>"},
		},
		{
			"an account", events.Names{}, events.Filter{Provider: "acme", Account: "te.nant/a"},
			[]string{"token.*.acme.te=2Enant.a", "token.*.acme.te=2Enant.a.>"},
		},
		{
			"a type of an account in a namespace", staging,
			events.Filter{Types: []events.Type{events.TokenRevoked}, Provider: "acme", Account: "a"},
			[]string{"staging.token.revoked.acme.a", "staging.token.revoked.acme.a.>"},
		},
		{"everything in a namespace", staging, events.Filter{}, []string{"staging.token.>", "staging.provider.>"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.names.FilterSubjects(tt.filter)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("FilterSubjects = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestFilterValidateReportsAllFaults(t *testing.T) {
	t.Parallel()
	f := events.Filter{Types: []events.Type{"token.update", events.ProviderPaused}, Account: "alice"}
	err := f.Validate()
	for _, want := range []string{`"token.update"`, `"provider.paused"`, "without a provider"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want it to mention %s", err, want)
		}
	}
	for _, f := range []events.Filter{{Provider: "Acme"}, {Provider: "Acme", Account: "a"}, {Provider: "acme", Account: "\xff"}} {
		if _, err := (events.Names{}).FilterSubjects(f); !errors.Is(err, events.ErrName) {
			t.Errorf("FilterSubjects(%+v): %v, want ErrName", f, err)
		}
	}
}

// Every filter is one that the server takes, and lets through exactly what it says.
func TestFilterOnTheServer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	told := []events.Event{
		updated("acme/a", 1), updated("acme/a/b", 1), updated("acme/a2", 1), updated("other/a", 1),
		tokenEvent(events.TokenRevoked, "acme/a", 1, 1, ""),
		providerEvent(events.ProviderPaused, "acme", 1), providerEvent(events.ProviderPaused, "other", 1),
	}
	b.tell(t, told...)
	lists := [][]events.Type{nil, {events.TokenUpdated}, {events.TokenUpdated, events.TokenRevoked}, events.Types()}
	for i, types := range lists {
		for _, about := range []string{"", "acme", "acme/a", "acme/a/b"} {
			f := events.Filter{Types: types}
			f.Provider, f.Account, _ = strings.Cut(about, "/")
			if f.Validate() != nil {
				continue
			}
			t.Run(fmt.Sprintf("types %d about %q", i, about), func(t *testing.T) {
				t.Parallel()
				wantSelected(t, b, f, told)
			})
		}
	}
}

func wantSelected(t *testing.T, b *bench, f events.Filter, told []events.Event) {
	subjects, err := b.names.FilterSubjects(f)
	if err != nil {
		t.Fatal(err)
	}
	cons, err := b.stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{FilterSubjects: subjects})
	if err != nil {
		t.Fatal(err)
	}
	want := uint64(0)
	for _, e := range told {
		if selects(f, e) {
			want++
		}
	}
	if got := cons.CachedInfo().NumPending; got != want {
		t.Errorf("%q select %d events, want %d", subjects, got, want)
	}
}

// selects says what a filter means, in other words than its implementation.
func selects(f events.Filter, e events.Event) bool {
	account := e.Data.Account
	return (len(f.Types) == 0 || slices.Contains(f.Types, e.Type)) &&
		(f.Provider == "" || f.Provider == e.Data.Provider) &&
		(f.Account == "" || account == f.Account || strings.HasPrefix(account, f.Account+"/"))
}
