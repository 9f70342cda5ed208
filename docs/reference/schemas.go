// Package reference holds what the program itself needs of this folder: the JSON
// Schemas, which it hands to editors, and the settings of sinks, which it explains.
package reference

import "embed"

// Schemas are the files that end in .schema.json.
//
//go:embed *.schema.json
var Schemas embed.FS

// Sinks is the page of all sinks and their settings, in Markdown.
//
//go:embed sinks.md
var Sinks string
