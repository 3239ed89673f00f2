package app

import "runtime/debug"

// version is set by a release build: -ldflags "-X github.com/freshetdev/freshet/internal/app.version=v1.2.3".
var version string

// Version returns the version of this build: the release's, else the module's, else "devel".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
