package store

import (
	"crypto/sha256"
	"database/sql/driver"
	"encoding/json"
	"slices"

	"github.com/erbridge/erbridge/internal/soar"
)

// compareAlerts compares the alerts that are still there with the newest record of
// each.
func (a *agreement) compareAlerts() error {
	slices.SortFunc(a.gone, func(x, y [2]int64) int { return int(x[0] - y[0]) })
	err := a.each("SELECT seq, at, kind, body FROM audit WHERE seq >= ? AND kind = ? ORDER BY seq", []any{a.from, auditAlerts},
		func(row []driver.Value) error {
			r := auditRecord{seq: number(row[0]), at: number(row[1]), kind: text(row[2]), body: text(row[3])}
			items, err := readAlerts(r.body)
			if err != nil {
				return unreadableBody(&r, err)
			}
			return a.compareList(&r, items)
		})
	if err != nil {
		return err
	}
	// What is left was taken in before the records that were looked at.
	for key, changed := range a.changed {
		r := auditRecord{seq: changed.seq, kind: auditChanged}
		if err := a.compareList(&r, []auditedAlert{{key, changed.ref, changed.digest}}); err != nil {
			return err
		}
	}
	if a.part {
		return nil
	}
	newest, err := a.number("SELECT coalesce(max(key), 0) FROM alert")
	if err == nil && newest > a.lastKey {
		return unrecorded("there is an alert with key %d, and the newest that was recorded has key %d", newest, a.lastKey)
	}
	return err
}

// compareList compares the alerts of one record.
func (a *agreement) compareList(r *auditRecord, items []auditedAlert) error {
	if len(items) == 0 {
		return nil
	}
	found := make(map[int64]storedAlertRow, len(items))
	first, last := items[0].key, items[len(items)-1].key
	err := a.each(`SELECT a.key, a.server, a.id, a.severity, a.status, a.verdict, a.event_count, a.host, b.body
		FROM alert a LEFT JOIN alert_body b ON b.key = a.key WHERE a.key BETWEEN ? AND ?`,
		[]any{first, last}, func(row []driver.Value) error {
			found[number(row[0])] = storedAlertRow{[7]driver.Value(row[1:8]), blob(row[8])}
			return nil
		})
	if err != nil {
		return err
	}
	for _, item := range items {
		have, there := found[item.key]
		if !there {
			if !a.removed(item.key) {
				return r.broken(FaultTables, "alert %s (key %d) is gone, and retention has not removed it", item.ref, item.key)
			}
			continue
		}
		want, told := item.digest, ""
		if changed, ok := a.changed[item.key]; ok {
			want, told = changed.digest, " and then changed"
			delete(a.changed, item.key)
		}
		if !have.is(item.ref, want) {
			return r.broken(FaultTables, "alert %s (key %d) is not what was recorded when it was taken in%s", item.ref, item.key, told)
		}
		a.alerts++
	}
	return nil
}

// storedAlertRow is what the store has of an alert.
type storedAlertRow struct {
	columns [7]driver.Value // by which it is found: server, id, severity, status, verdict, event count, host
	body    []byte
}

// is reports whether the alert is the one with this name and content, and is found as such.
func (s *storedAlertRow) is(ref string, digest [32]byte) bool {
	data, err := unpack(s.body)
	if err != nil || sha256.Sum256(data) != digest {
		return false
	}
	var a soar.Alert
	return json.Unmarshal(data, &a) == nil && a.Ref() == ref &&
		s.columns == [7]driver.Value{a.Server, a.ID, string(a.Severity), a.Status, a.Verdict, int64(a.EventCount), hostName(&a)}
}

// removed reports whether retention has removed an alert.
func (a *agreement) removed(key int64) bool {
	i, found := slices.BinarySearchFunc(a.gone, key, func(r [2]int64, key int64) int { return int(r[0] - key) })
	return found || i > 0 && key <= a.gone[i-1][1]
}
