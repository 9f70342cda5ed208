package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dataFile is the database inside the store's folder.
const dataFile = "erbridge.db"

// minSQLite is the oldest SQLite that may touch the store: 3.51.3 fixed a race
// in WAL mode that could corrupt a database when a checkpoint restarts the log
// while another connection writes (SQLite release history, 3.51.3).
const minSQLite = 3_051_003

// maxLogPages is where the committer itself moves the write-ahead log into the
// database, because the checkpointer alone does not keep up: 64 MiB.
const maxLogPages = 16 << 10

// dsn names the database file with pragmas in the order given.
func dsn(dir string, params string, pragmas ...string) string {
	var b strings.Builder
	b.WriteString("file:")
	b.WriteString((&url.URL{Path: filepath.Join(dir, dataFile)}).EscapedPath())
	b.WriteString("?_busy_timeout=10000")
	b.WriteString(params)
	for _, p := range pragmas {
		b.WriteString("&_pragma=")
		b.WriteString(url.QueryEscape(p))
	}
	return b.String()
}

// conn is a connection without database/sql around it: the committer is its only
// user, and the pool's locks and conversions cost as much as SQLite itself.
type conn struct {
	ctx context.Context // never cancelled: a transaction is finished, not interrupted
	raw driver.Conn
	exe driver.ExecerContext
}

func openConn(ctx context.Context, dsn string) (*conn, error) {
	raw, err := (&sqlite.Driver{}).Open(dsn)
	if err != nil {
		return nil, err
	}
	c := &conn{ctx: context.WithoutCancel(ctx), raw: raw}
	var ok bool
	if c.exe, ok = raw.(driver.ExecerContext); !ok {
		return nil, errors.Join(errors.New("sqlite driver: no ExecContext"), raw.Close())
	}
	return c, nil
}

func (c *conn) close() error { return c.raw.Close() }

// exec runs one or more statements without parameters.
func (c *conn) exec(sql string) error {
	_, err := c.exe.ExecContext(c.ctx, sql, nil)
	return err
}

// rollback ends a transaction, if there still is one: SQLite itself rolls back
// after some errors.
func (c *conn) rollback() error {
	if err := c.exec("ROLLBACK"); err != nil && code(err) != sqlite3.SQLITE_ERROR {
		return err
	}
	return nil
}

// pages says how many pages the connection has written since the last call.
func (c *conn) pages() (int, error) {
	status, ok := c.raw.(sqlite.DBStatus)
	if !ok {
		return 0, errors.New("sqlite driver: no Status")
	}
	n, _, err := status.Status(sqlite.DBStatusCacheWrite, true)
	return n, err
}

// checkpoint moves what it can of the write-ahead log into the database without
// waiting for anybody, and says how long the log was and how much of it is moved.
func (c *conn) checkpoint() (pages, moved int64, err error) {
	s, err := c.prepare("PRAGMA wal_checkpoint(PASSIVE)")
	if err != nil {
		return 0, 0, err
	}
	err = s.query(nil, func(row []driver.Value) error {
		pages, _ = row[1].(int64)
		moved, _ = row[2].(int64)
		return nil
	})
	return pages, moved, errors.Join(err, s.close())
}

// number is the one integer that a statement returns.
func (c *conn) number(sql string) (n int64, err error) {
	s, err := c.prepare(sql)
	if err != nil {
		return 0, err
	}
	err = s.query(nil, func(row []driver.Value) error {
		n, _ = row[0].(int64)
		return nil
	})
	return n, errors.Join(err, s.close())
}

// stmt is a prepared statement of a conn.
type stmt struct {
	c    *conn
	sql  string
	exe  driver.StmtExecContext
	qry  driver.StmtQueryContext
	stop func() error
	args []driver.NamedValue
	row  []driver.Value
}

func (c *conn) prepare(sql string) (*stmt, error) {
	raw, err := c.raw.(driver.ConnPrepareContext).PrepareContext(c.ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", sql, err)
	}
	s := &stmt{c: c, sql: sql, stop: raw.Close}
	s.exe, _ = raw.(driver.StmtExecContext)
	s.qry, _ = raw.(driver.StmtQueryContext)
	if s.exe == nil || s.qry == nil {
		return nil, errors.Join(errors.New("sqlite driver: statement without contexts"), raw.Close())
	}
	return s, nil
}

func (s *stmt) close() error { return s.stop() }

// exec runs the statement and says how many rows it touched.
func (s *stmt) exec(args ...driver.Value) (int64, error) {
	s.args = s.args[:0]
	for i, v := range args {
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return s.execNamed(s.args)
}

func (s *stmt) execNamed(args []driver.NamedValue) (int64, error) {
	res, err := s.exe.ExecContext(s.c.ctx, args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query calls f with each row. The row is reused; its blobs and texts are not.
func (s *stmt) query(args []driver.NamedValue, f func(row []driver.Value) error) (err error) {
	rows, err := s.qry.QueryContext(s.c.ctx, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if s.row == nil {
		s.row = make([]driver.Value, len(rows.Columns()))
	}
	for {
		switch err := rows.Next(s.row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := f(s.row); err != nil {
			return err
		}
	}
}

// values numbers arguments.
func values(args ...driver.Value) []driver.NamedValue {
	named := make([]driver.NamedValue, len(args))
	for i, v := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return named
}

// bulk runs one statement for many rows, a few dozen parameters at a time. More
// would be slower: the driver looks each parameter up in the list from its start.
type bulk struct {
	c     *conn
	sql   string // with %s for the rows
	row   string // one row, as in (?,?)
	cols  int
	rows  int     // most rows of one statement
	stmts []*stmt // by number of rows; prepared at first use
	args  []driver.NamedValue
	each  func(row []driver.Value) error // set for queries
	// touched counts the rows that flushed statements touched.
	touched int64
}

const bulkParams = 96

func newBulk(c *conn, sql string, cols int) *bulk {
	row := "?"
	if cols > 1 || !strings.Contains(sql, "IN (%s)") {
		row = "(?" + strings.Repeat(",?", cols-1) + ")"
	}
	rows := max(1, bulkParams/cols)
	return &bulk{c: c, sql: sql, row: row, cols: cols, rows: rows, stmts: make([]*stmt, rows+1)}
}

func (b *bulk) add(row ...driver.Value) error {
	for _, v := range row {
		b.args = append(b.args, driver.NamedValue{Ordinal: len(b.args) + 1, Value: v})
	}
	if len(b.args) == b.rows*b.cols {
		return b.flush()
	}
	return nil
}

// flush runs the statement for the rows added since the last one.
func (b *bulk) flush() error {
	n := len(b.args) / b.cols
	if n == 0 {
		return nil
	}
	defer func() {
		clear(b.args) // lets go of bodies
		b.args = b.args[:0]
	}()
	s := b.stmts[n]
	if s == nil {
		var err error
		if s, err = b.c.prepare(fmt.Sprintf(b.sql, b.row+strings.Repeat(","+b.row, n-1))); err != nil {
			return err
		}
		b.stmts[n] = s
	}
	if b.each != nil {
		return s.query(b.args, b.each)
	}
	touched, err := s.execNamed(b.args)
	b.touched += touched
	return err
}

// reset forgets rows that were added and never flushed.
func (b *bulk) reset() {
	clear(b.args)
	b.args = b.args[:0]
	b.touched = 0
}

func (b *bulk) close() error {
	var errs []error
	for _, s := range b.stmts {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// code is SQLite's primary result code of an error, or zero.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// taken reports whether an error says that a primary key exists.
func taken(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE ||
		e.Code() == sqlite3.SQLITE_CONSTRAINT_ROWID)
}

// ownFault reports whether an error comes from what was to be written, so that
// the same write without the faulty Change goes through. Everything else is
// trouble with the disk or the file and hits whoever writes next too.
func ownFault(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return true
	case 0:
		return true // not SQLite's: encoding, decoding
	}
	return false
}
