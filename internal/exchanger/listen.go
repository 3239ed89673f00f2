package exchanger

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/gofrs/flock"

	"github.com/freshetdev/freshet/internal/socket"
)

// ErrInUse means that another process listens on the socket or has the state directory.
var ErrInUse = errors.New("exchanger is in use")

// socketMode lets the owner in, and root.
const socketMode = 0o600

// listen takes the socket for this process, which has the state directory already.
func listen(ctx context.Context, path string) (net.Listener, *flock.Flock, error) {
	ln, lock, err := socket.Listen(ctx, path, socketMode)
	if errors.Is(err, socket.ErrInUse) {
		err = fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return ln, lock, err
}
