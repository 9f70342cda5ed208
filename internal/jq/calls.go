package jq

import "github.com/itchyny/gojq"

// Calls calls f for every function call in a query, whatever its depth.
func Calls(q *gojq.Query, f func(*gojq.Func)) { visitCalls(q, f) }
