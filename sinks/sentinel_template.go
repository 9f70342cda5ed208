package sinks

import _ "embed"

// SentinelTemplate is a template of Azure Resource Manager with the table and the
// data collection rule for the sentinel sink with format asim. Its outputs are the
// settings url, rule and stream.
//
//go:embed sentinel_template.json
var SentinelTemplate []byte
