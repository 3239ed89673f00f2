// Package interop holds tests of Freshet against programs and libraries that others wrote and that the product does not link.
// It is a module of its own, so that none of them is a dependency of Freshet.
package interop
