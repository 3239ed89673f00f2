package exchanger

import (
	"encoding/json"
	"fmt"

	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// proofBinding is the place that a proof is bound to. No credential's key is without a dot.
func proofBinding(k refresh.Keys) seal.Binding {
	return seal.Binding{Bucket: k.Bucket, Key: "exchanger", Field: "proof"}
}

// newProof seals something that only a process with the same keyset and bucket can open.
func newProof(k refresh.Keys, store string) ([]byte, error) {
	proof, err := k.Grant.Seal([]byte(store), proofBinding(k))
	if err != nil {
		return nil, fmt.Errorf("seal proof: %w", err)
	}
	return proof, nil
}

func checkProof(k refresh.Keys, proof []byte) error {
	if _, err := k.Grant.Open(proof, proofBinding(k)); err != nil {
		return fmt.Errorf("the exchanger has another grant keyset or namespace: give both the same: %w", err)
	}
	return nil
}

// openOutcome opens what refresh.Keys.SealOutcome has sealed.
func openOutcome(k refresh.Keys, h held) (refresh.Outcome, error) {
	plain, err := k.Grant.Open(h.Data, seal.Binding{Bucket: k.Bucket, Key: h.Key, Field: "journal/" + h.ID})
	if err != nil {
		return refresh.Outcome{}, fmt.Errorf("open the exchanger's outcome of attempt %s: %w", h.ID, err)
	}
	var entry struct {
		Outcome refresh.Outcome `json:"outcome"`
	}
	if err := json.Unmarshal(plain, &entry); err != nil || entry.Outcome.Phase == "" {
		return refresh.Outcome{}, fmt.Errorf("open the exchanger's outcome of attempt %s: %w", h.ID, seal.ErrCorrupt)
	}
	return entry.Outcome, nil
}
