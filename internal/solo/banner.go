package solo

import (
	"fmt"

	"github.com/freshetdev/freshet/internal/app"
)

// tries are the commands that dev suggests; each works from another terminal.
func tries(credential string) []string {
	return []string{
		"freshet ls",
		"freshet show " + credential,
		"freshet token " + credential,
		"freshet token " + credential + " --min-ttl 3s",
		"freshet refresh " + credential,
		"freshet events --since 1m",
		"freshet pause " + credential + "; freshet resume " + credential,
		"freshet login " + devProvider + "/me",
	}
}

// banner says what runs where and what to try.
func (d *dev) banner(env string) {
	w := d.cfg.Out
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-22s"+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(w, "\nfreshet dev %s    DEV MODE: throwaway data, loopback only, not for production\n\n", app.Version())
	line("NATS", "nats-server %s in this process, port %s", d.node.server.Version(), d.node.server.Port())
	line("Authorization server", "%s, rotation %s, access tokens live %s", d.authURL, d.cfg.Rotation, d.cfg.Lifetime)
	line("Processes", "scheduler-1, worker-1, worker-2")
	line("Credentials", "%d, enrolled by authorization code + PKCE", d.cfg.Credentials)
	line("Data", "%s, removed at the end", d.node.dir)
	line("Dashboard", "%s", d.dashboard)
	line("Ends", "%s", d.ends())
	fmt.Fprintf(w, "\n  Try next, in another terminal (the first line makes the command freshet work there):\n\n    source %s\n", env)
	for _, t := range tries(devProvider + "/" + d.accounts[0]) {
		fmt.Fprintf(w, "    %s\n", t)
	}
	fmt.Fprintf(w, "\n  Or connect %s/%s in a browser:\n\n    %s\n\n", devProvider, demoVisitor, d.link)
}

func (d *dev) ends() string {
	if d.cfg.For > 0 {
		return "by itself after " + d.cfg.For.String() + ", or with Ctrl-C; then with a summary"
	}
	return "with Ctrl-C; then with a summary"
}
