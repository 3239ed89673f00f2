package credhelper

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/tokens"
)

// The versions of client.authentication.k8s.io that have the same answer. A client wants the one that it asked with.
const (
	kubernetesV1      = "client.authentication.k8s.io/v1"
	kubernetesV1beta1 = "client.authentication.k8s.io/v1beta1"
)

// execCredential is the question and the answer.
type execCredential struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Status     *execStatus `json:"status,omitempty"`
}

type execStatus struct {
	ExpirationTimestamp string `json:"expirationTimestamp,omitempty"` // RFC 3339; none: the client asks again only after a 401
	Token               string `json:"token"`
}

// Kubernetes returns the answer of an exec plugin. Info is the client's question, from the variable KUBERNETES_EXEC_INFO;
// empty: version v1 is meant. Errors: a question of another version.
func Kubernetes(info string, t tokens.Token) ([]byte, error) {
	var asked execCredential
	if info != "" && json.Unmarshal([]byte(info), &asked) != nil {
		return nil, errors.New("KUBERNETES_EXEC_INFO is not the JSON of an ExecCredential")
	}
	version := cmp.Or(asked.APIVersion, kubernetesV1)
	if version != kubernetesV1 && version != kubernetesV1beta1 {
		return nil, fmt.Errorf("the client asks with apiVersion %s: want %s in its configuration", version, kubernetesV1)
	}
	answer := execCredential{APIVersion: version, Kind: "ExecCredential", Status: &execStatus{Token: t.AccessToken.Reveal()}}
	if !t.ExpiresAt.IsZero() {
		answer.Status.ExpirationTimestamp = t.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return json.Marshal(answer)
}
