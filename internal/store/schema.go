package store

import (
	"errors"
	"fmt"
)

// applicationID marks the file as ours for file(1) and for us: "erbr".
const applicationID = 0x65726272

// migrations lead from each version of the schema to the next; the version is
// SQLite's user_version. A migration that has been released is never edited.
//
// Times are microseconds since 1970, zero for none. Words (states, severities)
// are kept as words, so that a person with the sqlite3 shell can read the store.
var migrations = []string{
	// 1: the first release.
	`
	-- What is filtered by and compared with; narrow, so that a list over a million
	-- alerts reads few pages.
	CREATE TABLE alert (
		key INTEGER PRIMARY KEY,
		server TEXT NOT NULL,
		id TEXT NOT NULL,
		severity TEXT NOT NULL,
		status TEXT NOT NULL,
		verdict TEXT NOT NULL,
		event_count INTEGER NOT NULL,
		host TEXT NOT NULL COLLATE NOCASE,
		created_at INTEGER NOT NULL,
		received_at INTEGER NOT NULL
	) STRICT;
	CREATE INDEX alert_by_host ON alert (host, key);
	CREATE INDEX alert_by_time ON alert (created_at);

	-- The whole alert as packed JSON.
	CREATE TABLE alert_body (key INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;

	-- Finds an alert by server and id; see identity.
	CREATE TABLE alert_identity (hash BLOB NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (hash, key)) STRICT, WITHOUT ROWID;

	-- Alerts that await evaluation. again means that the alert changed while it
	-- waited: after the evaluation it waits once more, as alert.updated.
	CREATE TABLE pending (key INTEGER PRIMARY KEY, kind TEXT NOT NULL, again INTEGER NOT NULL) STRICT;

	CREATE TABLE verdict (key INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;

	CREATE TABLE run (
		id INTEGER PRIMARY KEY,
		alert_key INTEGER NOT NULL,
		alert TEXT NOT NULL,
		playbook TEXT NOT NULL,
		version TEXT NOT NULL,
		mode TEXT NOT NULL,
		state TEXT NOT NULL,
		pc INTEGER NOT NULL,
		wake INTEGER NOT NULL,
		epoch INTEGER NOT NULL,
		started_at INTEGER NOT NULL,
		ended_at INTEGER NOT NULL,
		error TEXT NOT NULL
	) STRICT;
	CREATE INDEX run_by_alert ON run (alert_key, id);
	CREATE INDEX run_by_playbook ON run (playbook, id);
	-- Most runs are done, and a list of done runs finds them by id alone.
	CREATE INDEX run_by_state ON run (state, id) WHERE state <> 'done';
	CREATE INDEX run_by_wake ON run (wake) WHERE state = 'waiting';

	-- The journal of runs: append-only, and the audit record.
	CREATE TABLE ev (
		run INTEGER NOT NULL,
		seq INTEGER NOT NULL,
		at INTEGER NOT NULL,
		step TEXT NOT NULL,
		kind TEXT NOT NULL,
		ref TEXT,
		body TEXT,
		PRIMARY KEY (run, seq)
	) STRICT, WITHOUT ROWID;
	-- Not unique: a server that is set up anew counts its commands from one again.
	CREATE INDEX ev_by_ref ON ev (ref) WHERE ref IS NOT NULL;

	-- alert.received has neither id nor body: both follow from the alert.
	CREATE TABLE feed (
		pos INTEGER PRIMARY KEY,
		type TEXT NOT NULL,
		at INTEGER NOT NULL,
		alert_key INTEGER,
		id TEXT,
		body BLOB
	) STRICT;
	CREATE INDEX feed_by_alert ON feed (alert_key) WHERE alert_key IS NOT NULL;

	CREATE TABLE playbook (hash TEXT PRIMARY KEY, name TEXT NOT NULL, source BLOB NOT NULL) STRICT;
	CREATE TABLE cursor (source TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
	CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
	CREATE INDEX kv_by_expiry ON kv (expires) WHERE expires <> 0;
	CREATE TABLE sink (name TEXT PRIMARY KEY, pos INTEGER NOT NULL) STRICT;

	-- AUTOINCREMENT: an id that a person has noted down never means something else.
	CREATE TABLE redelivery (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		sink TEXT NOT NULL,
		alert_key INTEGER,
		body BLOB NOT NULL
	) STRICT;
	CREATE INDEX redelivery_by_sink ON redelivery (sink, id);
	CREATE INDEX redelivery_by_alert ON redelivery (alert_key) WHERE alert_key IS NOT NULL;
	CREATE TABLE dead_letter (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		origin TEXT NOT NULL,
		at INTEGER NOT NULL,
		reason TEXT NOT NULL,
		event_id TEXT NOT NULL,
		payload BLOB
	) STRICT;
	CREATE INDEX dead_letter_by_origin ON dead_letter (origin, id);

	-- Counters, written with every commit: the last alert key and feed position
	-- given out (never given out again, whatever retention removes), and how many
	-- of each thing there are, so that nobody has to count a million rows.
	CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

	-- Written and emptied again to find out whether there is space.
	CREATE TABLE probe (body BLOB NOT NULL) STRICT;
	`,
	// 2: the audit record, a chain of hashes.
	`
	CREATE TABLE audit (
		seq INTEGER PRIMARY KEY,
		at INTEGER NOT NULL,
		kind TEXT NOT NULL,
		body TEXT NOT NULL,
		hash BLOB NOT NULL
	) STRICT;
	-- Where the chain begins since retention has removed the records before; one row
	-- or none.
	CREATE TABLE audit_anchor (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, hash BLOB NOT NULL, alert_key INTEGER NOT NULL) STRICT;
	`,
	// 3: what changed of alerts, and who did it.
	`
	-- Why an alert is pending, as JSON: change for the evaluation that is due, next for
	-- the one after it; empty for a new alert.
	ALTER TABLE pending ADD COLUMN change TEXT NOT NULL DEFAULT '';
	ALTER TABLE pending ADD COLUMN next TEXT NOT NULL DEFAULT '';
	-- A fingerprint of the comment; NULL where none was taken.
	ALTER TABLE alert ADD COLUMN comment INTEGER;
	`,
}

// auditSince is the first version of the schema with an audit record, changesSince the
// first that keeps what changed of alerts.
const auditSince, changesSince = 2, 3

// migrate brings the schema up to date, each version in its own transaction.
func migrate(c *conn) error {
	version, err := c.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	for v := int(version); v < len(migrations); v++ {
		sql := fmt.Sprintf("BEGIN IMMEDIATE;\n%s;\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;\nCOMMIT", migrations[v], applicationID, v+1)
		if err := c.exec(sql); err != nil {
			return errors.Join(fmt.Errorf("migrate to version %d: %w", v+1, err), c.rollback())
		}
	}
	return nil
}

func checkVersion(version int64) error {
	if version > int64(len(migrations)) {
		return fmt.Errorf("the store has schema version %d and this erbridge knows up to %d; use the newer erbridge that wrote it",
			version, len(migrations))
	}
	return nil
}
