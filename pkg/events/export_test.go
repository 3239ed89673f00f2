package events

import "time"

// Seen opens what a subscriber remembers.
type Seen struct{ s *seen }

func NewSeen(limit int) Seen     { return Seen{newSeen(limit)} }
func (s Seen) News(e Event) bool { return s.s.news(e) }
func (s Seen) Handled(e Event)   { s.s.handled(e) }
func (s Seen) Len() int          { return len(s.s.young) + len(s.s.old) }
func (s Seen) SlotsFit() bool    { return idSlots == len(Types())+1 }

// LiveBuffer is how many messages wait for a slow handler.
const LiveBuffer = liveBuffer

// WithHeartbeat sets the pace at which a reader notices a silent server.
func (c SubscribeConfig) WithHeartbeat(d time.Duration) SubscribeConfig {
	c.heartbeat = d
	return c
}

// Encode is an event's body.
func (d Data) Encode() ([]byte, error) { return d.encode() }
