package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver that database/sql finds as "sqlite"

	"github.com/erbridge/erbridge/internal/soar"
)

// maxLimit bounds what one query returns, whatever its caller asks for.
const maxLimit = 10_000

// Reader answers questions. Its connections cannot write, see only what is
// committed, and never make the committer wait. All methods are safe for
// concurrent use; what is not there is soar.ErrNotFound.
type Reader struct {
	db  *sql.DB
	now func() time.Time
	log *slog.Logger // of what cannot be read

	recent recent // what the engine and the sinks read

	alerts string // selectAlerts, as far as the version of the schema has it
}

// OpenReader opens the store in dir for reading, beside a running erbridge or
// without one. It changes nothing and takes no lock.
func OpenReader(ctx context.Context, dir string) (*Reader, error) {
	if _, err := os.Stat(filepath.Join(dir, dataFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w in %q; was erbridge run with this folder?", ErrNoStore, dir)
		}
		return nil, fmt.Errorf("open store %q: %w", dir, err)
	}
	if err := checkFilesystem(dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	r, err := openReader(ctx, dir, time.Now)
	if err != nil {
		return nil, fmt.Errorf("open store %q: %w", dir, err)
	}
	return r, nil
}

func openReader(ctx context.Context, dir string, now func() time.Time) (*Reader, error) {
	db, err := sql.Open("sqlite", dsn(dir, "&mode=ro", "query_only(1)", "cache_size(-4096)", "temp_store(memory)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(runtime.GOMAXPROCS(0) + 2)
	db.SetMaxIdleConns(runtime.GOMAXPROCS(0) + 2)
	r := &Reader{db: db, now: now, log: slog.Default(), alerts: selectAlerts}
	var version int64
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	if err == nil && version == 0 {
		err = ErrNoStore
	}
	if err == nil {
		err = checkVersion(version)
	}
	if version < changesSince { // an older erbridge wrote it, and none has migrated it yet
		r.alerts = strings.Replace(selectAlerts, "p.change", "NULL", 1)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return r, nil
}

// Close closes the connections.
func (r *Reader) Close() error { return r.db.Close() }

// Check looks the whole database over for damage; it takes time on a large one.
func (r *Reader) Check(ctx context.Context) error {
	found, err := list(ctx, r, "PRAGMA integrity_check(10)", nil, func(row *sql.Rows) (line string, err error) {
		return line, row.Scan(&line)
	})
	if err != nil {
		return fmt.Errorf("integrity check: %w", err)
	}
	if len(found) != 1 || found[0] != "ok" {
		return fmt.Errorf("integrity check: %s", strings.Join(found, "; "))
	}
	return nil
}

// list collects the rows of a query.
func list[T any](ctx context.Context, r *Reader, query string, args []any, scan func(*sql.Rows) (T, error)) (out []T, err error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// one is the only row of a query, or soar.ErrNotFound.
func one[T any](ctx context.Context, r *Reader, query string, args []any, scan func(*sql.Rows) (T, error)) (v T, err error) {
	found, err := list(ctx, r, query, args, scan)
	if err == nil && len(found) == 0 {
		err = soar.ErrNotFound
	}
	if err != nil {
		return v, err
	}
	return found[0], nil
}

func limited(limit int) int {
	if limit <= 0 || limit > maxLimit {
		return maxLimit
	}
	return limit
}

// filter collects the conditions of a WHERE clause.
type filter struct {
	terms []string
	args  []any
}

func (f *filter) add(term string, arg any) {
	f.terms = append(f.terms, term)
	f.args = append(f.args, arg)
}

func (f *filter) where() string {
	if len(f.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(f.terms, " AND ")
}

const selectAlerts = `SELECT a.key, a.received_at, b.body, p.kind, p.change, v.body
	FROM alert a JOIN alert_body b ON b.key = a.key
	LEFT JOIN pending p ON p.key = a.key LEFT JOIN verdict v ON v.key = a.key`

// decodeFunc makes an alert of its stored form.
type decodeFunc func(key int64, packed []byte) (soar.Alert, error)

var decodeAnew decodeFunc = func(_ int64, packed []byte) (soar.Alert, error) { return decodeAlert(packed) }

func scanAlert(row *sql.Rows) (soar.StoredAlert, error) { return decodeAnew.scan(row) }

func (decode decodeFunc) scan(row *sql.Rows) (a soar.StoredAlert, err error) {
	var receivedAt int64
	var body sql.RawBytes
	var pending, change, verdicts sql.NullString
	if err := row.Scan(&a.Key, &receivedAt, &body, &pending, &change, &verdicts); err != nil {
		return a, err
	}
	if a.Alert, err = decode(a.Key, body); err != nil {
		return a, fmt.Errorf("alert %d: %w", a.Key, err)
	}
	a.ReceivedAt, a.Pending = fromMicros(receivedAt), pending.String
	if change.String != "" {
		if err := json.Unmarshal([]byte(change.String), &a.Change); err != nil {
			return a, fmt.Errorf("change of alert %d: %w", a.Key, err)
		}
	}
	if verdicts.Valid {
		err = json.Unmarshal([]byte(verdicts.String), &a.Verdicts)
	}
	return a, err
}

// listAlerts collects alerts and leaves out those that cannot be read, so that one
// of them does not hide the others; unreadable are their keys.
func (r *Reader) listAlerts(ctx context.Context, query string, args []any) (found []soar.StoredAlert, unreadable []int64, err error) {
	return r.listDecoded(ctx, decodeAnew, query, args)
}

func (r *Reader) listDecoded(ctx context.Context, decode decodeFunc, query string, args []any) (found []soar.StoredAlert, unreadable []int64, err error) {
	all, err := list(ctx, r, query, args, func(row *sql.Rows) (*soar.StoredAlert, error) {
		a, err := decode.scan(row)
		if errors.Is(err, errUnreadable) {
			r.log.Error("an alert is left out", "key", a.Key, "err", err)
			unreadable = append(unreadable, a.Key)
			return nil, nil
		}
		return &a, err
	})
	for _, a := range all {
		if a != nil {
			found = append(found, *a)
		}
	}
	return found, unreadable, err
}

// Pending returns alerts with keys above after that await evaluation, oldest key
// first. An alert that changes while it is evaluated stays pending after its
// Evaluation, as alert.updated.
func (r *Reader) Pending(ctx context.Context, after int64, limit int) ([]soar.StoredAlert, error) {
	found, _, err := r.pending(ctx, after, limit)
	return found, err
}

func (r *Reader) pending(ctx context.Context, after int64, limit int) (found []soar.StoredAlert, unreadable []int64, err error) {
	return r.listDecoded(ctx, r.recent.decode, `SELECT p.key, a.received_at, b.body, p.kind, p.change, v.body
		FROM pending p CROSS JOIN alert a ON a.key = p.key JOIN alert_body b ON b.key = p.key LEFT JOIN verdict v ON v.key = p.key
		WHERE p.key > ? ORDER BY p.key LIMIT ?`, []any{after, limited(limit)})
}

// AlertByKey returns one alert. One that cannot be read counts as not found.
func (r *Reader) AlertByKey(ctx context.Context, key int64) (soar.StoredAlert, error) {
	a, err := one(ctx, r, r.alerts+" WHERE a.key = ?", []any{key}, scanAlert)
	if errors.Is(err, errUnreadable) {
		err = fmt.Errorf("%w: %w", soar.ErrNotFound, err)
	}
	if err != nil {
		return a, fmt.Errorf("alert with key %d: %w", key, err)
	}
	return a, nil
}

// AlertByRef returns one alert by its Alert.Ref. Where the dashes leave it open
// which part is the server, the first alert found is meant.
func (r *Reader) AlertByRef(ctx context.Context, ref string) (soar.StoredAlert, error) {
	key, err := r.keyByRef(ctx, ref)
	if err != nil {
		return soar.StoredAlert{}, err
	}
	return r.AlertByKey(ctx, key)
}

func (r *Reader) keyByRef(ctx context.Context, ref string) (int64, error) {
	for i := range len(ref) {
		if ref[i] != '-' || i == 0 || i == len(ref)-1 {
			continue
		}
		server, id := ref[:i], ref[i+1:]
		hash := identify(server, id)
		key, err := one(ctx, r, "SELECT a.key FROM alert_identity i JOIN alert a ON a.key = i.key WHERE i.hash = ? AND a.server = ? AND a.id = ?",
			[]any{hash[:], server, id}, func(row *sql.Rows) (key int64, err error) {
				return key, row.Scan(&key)
			})
		if !errors.Is(err, soar.ErrNotFound) {
			return key, err
		}
	}
	return 0, fmt.Errorf("alert %q: %w", ref, soar.ErrNotFound)
}

// AlertFilter chooses alerts. Empty fields choose all.
type AlertFilter struct {
	Server   string
	Severity string // exactly this one
	Status   string
	Host     string    // name of the host in any case, or its identifier where it has no name
	Since    time.Time // created at or after
	Before   int64     // keys below, for the next page
	Limit    int       // zero: as many as one query may return
}

// Alerts returns alerts, newest key first.
func (r *Reader) Alerts(ctx context.Context, f AlertFilter) ([]soar.StoredAlert, error) {
	var w filter
	if f.Server != "" {
		w.add("a.server = ?", f.Server)
	}
	if f.Severity != "" {
		w.add("a.severity = ?", f.Severity)
	}
	if f.Status != "" {
		w.add("a.status = ?", f.Status)
	}
	if f.Host != "" {
		w.add("a.host = ?", f.Host)
	}
	if !f.Since.IsZero() {
		w.add("a.created_at >= ?", micros(f.Since))
	}
	if f.Before > 0 {
		w.add("a.key < ?", f.Before)
	}
	found, _, err := r.listAlerts(ctx, r.alerts+w.where()+" ORDER BY a.key DESC LIMIT ?", append(w.args, limited(f.Limit)))
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	return found, nil
}

// KnownOpen returns open alerts of a server that were created at or after since,
// newest first: those whose event count may still grow.
func (r *Reader) KnownOpen(ctx context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error) {
	found, _, err := r.listAlerts(ctx, r.alerts+" WHERE a.created_at >= ? AND a.status = ? AND a.server = ? ORDER BY a.created_at DESC LIMIT ?",
		[]any{micros(since), soar.StatusOpen, server, limited(limit)})
	if err != nil {
		return nil, fmt.Errorf("open alerts of %q: %w", server, err)
	}
	return found, nil
}

// KnownResolved lists resolved alerts of a server that were created at or after since,
// newest first: those that may be reopened, or get another verdict.
func (r *Reader) KnownResolved(ctx context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error) {
	found, _, err := r.listAlerts(ctx, r.alerts+" WHERE a.created_at >= ? AND a.status = ? AND a.server = ? ORDER BY a.created_at DESC LIMIT ?",
		[]any{micros(since), soar.StatusResolved, server, limited(limit)})
	if err != nil {
		return nil, fmt.Errorf("resolved alerts of %q: %w", server, err)
	}
	return found, nil
}

// WorkedOn lists alerts of a server with a run that began at or after since, or that
// still goes on or waits, the newest run first.
func (r *Reader) WorkedOn(ctx context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error) {
	found, _, err := r.listAlerts(ctx, r.alerts+` JOIN (
			SELECT alert_key, max(id) AS last FROM (
				SELECT alert_key, id FROM run WHERE id >= ?
				UNION ALL SELECT alert_key, id FROM run WHERE state IN ('running', 'waiting') AND state <> 'done')
			WHERE alert_key <> 0 GROUP BY alert_key) w ON w.alert_key = a.key
		WHERE a.server = ? ORDER BY w.last DESC LIMIT ?`, []any{int64(soar.RunIDAt(since)), server, limited(limit)})
	if err != nil {
		return nil, fmt.Errorf("alerts of %q with runs since %s: %w", server, since.UTC().Format(time.RFC3339), err)
	}
	return found, nil
}

// AlertsCreated returns alerts that were created at or after since and have keys above
// after, the lowest key first.
func (r *Reader) AlertsCreated(ctx context.Context, since time.Time, after int64, limit int) ([]soar.StoredAlert, error) {
	found, _, err := r.listAlerts(ctx, r.alerts+" WHERE a.created_at >= ? AND a.key > ? ORDER BY a.key LIMIT ?",
		[]any{micros(since), after, limited(limit)})
	if err != nil {
		return nil, fmt.Errorf("alerts created since %s: %w", since.UTC().Format(time.RFC3339), err)
	}
	return found, nil
}

// PlaybookVersion returns a playbook by the hash of its content.
func (r *Reader) PlaybookVersion(ctx context.Context, hash string) (soar.PlaybookVersion, error) {
	p, err := one(ctx, r, "SELECT hash, name, source FROM playbook WHERE hash = ?", []any{hash},
		func(row *sql.Rows) (p soar.PlaybookVersion, err error) {
			return p, row.Scan(&p.Hash, &p.Name, &p.Source)
		})
	if err != nil {
		return p, fmt.Errorf("playbook version %q: %w", hash, err)
	}
	return p, nil
}

// KV returns the values whose keys begin with prefix and that have not expired,
// by key.
func (r *Reader) KV(ctx context.Context, prefix string) ([]soar.KV, error) {
	query, args := "SELECT key, value, expires FROM kv WHERE key >= ?", []any{prefix}
	if end := prefixEnd(prefix); end != "" {
		query, args = query+" AND key < ?", append(args, end)
	}
	return list(ctx, r, query+" AND (expires = 0 OR expires > ?) ORDER BY key", append(args, micros(r.now())),
		func(row *sql.Rows) (kv soar.KV, err error) {
			var expires int64
			err = row.Scan(&kv.Key, &kv.Value, &expires)
			kv.Expires = fromMicros(expires)
			return kv, err
		})
}

// prefixEnd is the first text after all texts with the prefix; empty when there
// is none.
func prefixEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}

// Cursor is the value of a source's cursor; nil when it has none.
func (r *Reader) Cursor(ctx context.Context, source string) ([]byte, error) {
	value, err := one(ctx, r, "SELECT value FROM cursor WHERE source = ?", []any{source}, func(row *sql.Rows) (v []byte, err error) {
		return v, row.Scan(&v)
	})
	if errors.Is(err, soar.ErrNotFound) {
		return nil, nil
	}
	return value, err
}

// Counts says how many of each thing there are. It reads counters that every
// commit keeps, so it costs the same whatever the store holds.
func (r *Reader) Counts(ctx context.Context) (Counts, error) {
	var t tally
	_, err := list(ctx, r, "SELECT name, value FROM meta", nil, func(row *sql.Rows) (struct{}, error) {
		var name string
		var value int64
		err := row.Scan(&name, &value)
		t.set(name, value)
		return struct{}{}, err
	})
	return t.counts(), err
}

// firstText scans the first column of a driver row.
func firstText(to *string) func([]driver.Value) error {
	return func(row []driver.Value) error {
		*to = text(row[0])
		return nil
	}
}
