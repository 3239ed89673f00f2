// Package seal keeps token material unreadable: sealed where it is stored, redacted where it is
// printed.
//
// A Keyset is a Tink AEAD keyset. Freshet uses two: "grant" for refresh tokens and client secrets,
// "access" for access tokens, so that a reader of access tokens holds no key to a grant. Every
// ciphertext is bound to the place it belongs to (Binding) and opens nowhere else: not under another
// key of the bucket, not in another field, not in an older or newer version of the record. What does
// not open gives no plaintext at all, only ErrUnknownKey or ErrCorrupt.
//
// A ciphertext begins with the id of the key that sealed it, so a keyset may hold keys of several
// generations: the primary seals, every enabled key opens. Keys are handed out first and made
// primary later; then no process meets a ciphertext whose key it lacks.
//
// A Secret is a string that prints as "[redacted]". Reveal is the only way to its value.
//
// # Limits
//
// Go copies memory as it pleases, so nothing here promises that a revealed value or a key is wiped
// after use. An old ciphertext that is put back together with the whole of its old record opens: the
// binding holds within a record, the bucket's permissions keep whole records from going back.
//
// # Concurrency
//
// A Secret does not change after it is made. A Keyset changes as a whole, by Replace. Both may be shared.
package seal
