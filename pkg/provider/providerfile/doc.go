// Package providerfile reads provider definitions as people write them: YAML, with references in place of client
// secrets.
//
// Parse reads a file and reports everything that is wrong with it at once, each fault with its line: what is not
// YAML, what is not known, what does not fit its field, and whatever provider.Definition.Validate says.
// File.Resolve then fetches the secrets from where the references point. The two are apart so that a file
// can be checked on a machine that has no secrets.
//
// The file itself must hold no secret. Should somebody write one into it all the same, no error shows it: a line
// is quoted only as far as its keys are known, and never behind client_secret.
package providerfile
