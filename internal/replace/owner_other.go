//go:build !unix

package replace

import "io/fs"

// ownerOf knows of no owners here: files have those that their directory gives them.
func ownerOf(fs.FileInfo) (owner, bool) { return owner{}, false }
