package refresh

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/internal/flatjson"
	"github.com/freshetdev/freshet/pkg/events"
)

// Job asks for one refresh attempt of one credential. Which credential, the subject says.
type Job struct {
	Reason events.Reason `json:"reason"`
	// GrantID ties the job to one grant; empty when the record's headers could not be read.
	GrantID string `json:"grant_id,omitempty"`
	// NewerThan: the job is done once the record's version is above this.
	NewerThan uint64 `json:"newer_than"`
	// IssuedAfter: the job is done once the token was issued after this (cron, keep-alive); zero: no such wish.
	IssuedAfter time.Time `json:"issued_after,omitzero"`
	// Refused: a resource server has refused the access token of version NewerThan (401), so there is nothing left
	// to lose by presenting the refresh token again.
	Refused bool `json:"refused,omitempty"`
	// Trace is whose work the job is, where somebody follows it. It travels in the message's headers.
	Trace events.Trace `json:"-"`
}

// Encode returns the job's wire form.
func (j Job) Encode() []byte {
	o := flatjson.New(128)
	o.Text("reason", string(j.Reason))
	o.TextIf("grant_id", j.GrantID)
	o.Uint("newer_than", j.NewerThan)
	o.TimeIf("issued_after", j.IssuedAfter)
	o.TrueIf("refused", j.Refused)
	b, err := o.Done()
	if err != nil {
		panic(fmt.Sprintf("encode job: %v", err)) // plain data: cannot fail
	}
	return b
}

// DecodeJob reads a job's wire form. Fields it does not know are ignored.
func DecodeJob(data []byte) (Job, error) {
	var j Job
	if flatjson.Read(data, j.member) {
		return j, nil
	}
	j = Job{}
	if err := json.Unmarshal(data, &j); err != nil {
		return Job{}, fmt.Errorf("decode job: %w", err)
	}
	return j, nil
}

// member takes a member of the usual job, as a scheduler writes it; false: there is more to it.
func (j *Job) member(name []byte, value flatjson.Value) bool {
	switch string(name) {
	case "reason":
		return flatjson.Text(value, &j.Reason)
	case "grant_id":
		return flatjson.Text(value, &j.GrantID)
	case "newer_than":
		return flatjson.Number(value, &j.NewerThan)
	}
	return false
}
