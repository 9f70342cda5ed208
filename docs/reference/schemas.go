// Package reference holds the JSON Schemas of this folder for the program, so that
// it can hand them to editors.
package reference

import "embed"

// Schemas are the files that end in .schema.json.
//
//go:embed *.schema.json
var Schemas embed.FS
