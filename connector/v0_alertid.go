package connector

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
)

// leastDerivedID is below all ids that are derived here and above all that a server
// gives, which count from 1.
const leastDerivedID = 1 << 60

// HasDerivedID reports whether the server told no id for the alert, as releases with
// API v0 alone may not. ID is then derived from what does not change of the alert:
// time, host, rule, query and event. It is the same whenever the alert is read,
// later alerts have greater ones, and it means nothing to the server. Two alerts
// that are alike in all of that are one.
func (a *Alert) HasDerivedID() bool { return a.ID >= leastDerivedID }

// derivedID makes an id for an alert: its second, then 31 bits of a sum over the
// rest.
func derivedID(a *Alert) int64 {
	sum := fnv.New64a()
	add := func(texts ...string) {
		for _, text := range texts {
			_, _ = sum.Write(binary.AppendUvarint(nil, uint64(len(text))))
			_, _ = sum.Write([]byte(text))
		}
	}
	add(a.CreatedAt.String(), strconv.FormatInt(a.NodeID, 10), strconv.FormatInt(a.RuleID, 10), a.QueryName, a.Type, a.Source)
	for _, name := range slices.Sorted(maps.Keys(a.Columns)) {
		add(name, a.Columns[name])
	}
	// An alert whose time cannot be read counts as older than all others.
	second := min(max(a.CreatedAt.Unix(), leastDerivedID>>31), 1<<32-1)
	return second<<31 | int64(sum.Sum64()>>33) //nolint:gosec // 31 bits
}
