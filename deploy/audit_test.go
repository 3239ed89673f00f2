package deploy_test

import (
	"testing"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/pkg/events"
)

// writers are the roles that may write an action. Another's is refused: see refusedTo.
func writers() map[audit.Action][]string {
	operator, enroller, both := []string{"operator"}, []string{"enroller"}, []string{"operator", "enroller"}
	return map[audit.Action][]string{
		audit.Enrolled: enroller, audit.Imported: enroller, audit.LinkMade: enroller, audit.Revoked: both, audit.Deleted: both,
		audit.TokenRead: {"reader"}, audit.Paused: operator, audit.Resumed: operator, audit.Applied: operator, audit.SetUp: operator,
		audit.KeysRotated: operator, audit.Rewrapped: operator, audit.BackedUp: operator, audit.Restored: operator,
	}
}

// entryOf is an entry as the commands write it.
func entryOf(a audit.Action) audit.Entry {
	alice := events.Credential{Provider: "acme", Account: "alice"}
	switch a {
	case audit.Imported, audit.SetUp, audit.KeysRotated, audit.Rewrapped, audit.BackedUp, audit.Restored:
		return audit.Entry{Action: a}
	case audit.Applied:
		alice.Account = ""
	default:
	}
	return audit.About(a, alice)
}

// Everybody writes what they do, a reader from the account of the readers, and the operator reads it.
func TestEveryRoleWritesItsOwnEntries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operator := w.broker("operator")
	w.setUp(operator)
	want := 0
	for _, a := range audit.Actions() {
		for _, role := range writers()[a] {
			b := w.broker(role)
			log := app.AuditLog(b, "test", "freshet/test", func(err error) { t.Errorf("%s: %v", role, err) })
			if log.Note(t.Context(), entryOf(a)) != "" {
				want++
			}
		}
	}
	var users []string
	w.must(audit.Read(t.Context(), operator.ReadAudit, events.Names{}, audit.Filter{}, func(e audit.Entry) error {
		users = append(users, e.Data.Actor.NATSUser)
		return nil
	}, func(err error) { t.Error(err) }))
	if len(users) != want || want != len(audit.Actions())+2 {
		t.Errorf("%d entries of %d: %v", len(users), want, users)
	}
	if got := w.denials.all(); len(got) > 0 {
		t.Errorf("denied: %v", got)
	}
}
