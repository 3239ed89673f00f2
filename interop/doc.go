// Package interop holds tests of Freshet against programs and libraries that others wrote and that the product does not link:
// authorization servers, a browser, the Kubernetes client. It is a module of its own, so that none of them is a dependency of
// Freshet.
//
// # Model
//
// The tests run the freshet command as people do, with one freshet run for each server, and play the person at the server's
// own pages. A witness between the two sees every token request. What is missing on the machine is installed by the packages
// debian, chromium and oidcprovider; everything but Debian's own packages is pinned.
package interop
