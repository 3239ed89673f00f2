package app

import (
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
)

// AuditLog returns what writes audit entries for a program, over the connection of a broker. source is as in events. warn hears of
// entries that are not written.
func AuditLog(b *broker.Broker, program, source string, warn func(error)) *audit.Log {
	return audit.New(audit.Config{
		Store: b.StoreAudit, Names: b.Names(), NoStream: broker.ErrNotSetUp, Source: source, Actor: audit.ActorOf(program, b.Conn()), Warn: warn,
	})
}
