// Package library holds the playbooks that ship in the binary. They are written
// for any server: they look at what happened, not at names of rules, except where
// they say so. All of them are in enforce mode; the daemon's ceiling, which is
// observe unless the configuration says otherwise, holds them back.
package library

import "embed"

// FS holds the playbooks, each in a file of its name.
//
//go:embed *.yaml
var FS embed.FS
