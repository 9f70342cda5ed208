package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// One flipped bit in any column of any record is found, and located.
func TestAuditFlippedByteOfARecord(t *testing.T) {
	flips := 600
	if testing.Short() {
		flips = 60
	}
	dir := filled(t, Options{}, 4)
	w := reopened(t, dir, "&mode=rw")
	defer w.Close()
	records := auditOf(t, w)
	random := rand.New(rand.NewPCG(5, 5))
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := w.db.ExecContext(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(b []byte) (at int) {
		at = random.IntN(len(b))
		b[at] ^= 1 << random.IntN(8)
		return at
	}
	check := func(r *auditRecord, what string, faults ...AuditFault) {
		t.Helper()
		_, err := w.VerifyAudit(t.Context(), AuditCheck{})
		b, ok := errors.AsType[*AuditBreak](err)
		if !ok || b.Seq != r.seq {
			t.Fatalf("%s of record %d: %v", what, r.seq, err)
		}
		for _, fault := range faults {
			if b.What == fault {
				return
			}
		}
		t.Fatalf("%s of record %d: %v, want %q", what, r.seq, err, faults)
	}
	last := records[len(records)-1].seq
	for range flips {
		r := records[random.IntN(len(records))]
		switch random.IntN(5) {
		case 0:
			body := []byte(r.body)
			at := flip(body)
			exec("UPDATE audit SET body = CAST(? AS TEXT) WHERE seq = ?", body, r.seq)
			check(&r, fmt.Sprintf("byte %d of the body", at), FaultContent)
			exec("UPDATE audit SET body = ? WHERE seq = ?", r.body, r.seq)
		case 1:
			kind := []byte(r.kind)
			flip(kind)
			exec("UPDATE audit SET kind = CAST(? AS TEXT) WHERE seq = ?", kind, r.seq)
			check(&r, "kind", FaultContent)
			exec("UPDATE audit SET kind = ? WHERE seq = ?", r.kind, r.seq)
		case 2:
			hash := r.hash
			flip(hash[:])
			fault := FaultHash
			if r.seq == last {
				fault = FaultContent // nothing behind it tells which of the two
			}
			exec("UPDATE audit SET hash = ? WHERE seq = ?", hash[:], r.seq)
			check(&r, "hash", fault)
			exec("UPDATE audit SET hash = ? WHERE seq = ?", r.hash[:], r.seq)
		case 3:
			exec("UPDATE audit SET at = ? WHERE seq = ?", r.at^1<<random.IntN(63), r.seq)
			check(&r, "time", FaultContent)
			exec("UPDATE audit SET at = ? WHERE seq = ?", r.at, r.seq)
		case 4:
			far := r.seq ^ 1<<(6+random.IntN(56)) // to a number that is not taken
			exec("UPDATE audit SET seq = ? WHERE seq = ?", far, r.seq)
			check(&r, "number", FaultMissing)
			exec("UPDATE audit SET seq = ? WHERE seq = ?", r.seq, far)
		}
	}
	if _, err := w.VerifyAudit(t.Context(), AuditCheck{}); err != nil {
		t.Errorf("put back as it was: %v", err)
	}
}

// contents is all that the audit record consists of; nil where it cannot be read.
func contents(t *testing.T, dir string) (records []auditRecord) {
	t.Helper()
	r, err := openReader(t.Context(), dir, nil)
	if err != nil {
		return nil
	}
	defer r.Close()
	err = r.audited(t.Context(), func(s *snapshot) error {
		return s.records(-lastSeq, lastSeq, func(r *auditRecord) error {
			records = append(records, *r)
			return nil
		})
	})
	if err != nil {
		return nil
	}
	return records
}

// One flipped bit anywhere in the file: either no record became another, as in a
// place that nothing uses, or the first one that did is found.
func TestAuditFlippedByteOfTheFile(t *testing.T) {
	flips := 600
	if testing.Short() {
		flips = 150
	}
	dir := filled(t, Options{}, 30)
	tamper(t, dir, "PRAGMA wal_checkpoint(TRUNCATE)")
	tamper(t, dir, "PRAGMA journal_mode(delete)") // one file, as a copy of the store would be kept
	path := filepath.Join(dir, dataFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := contents(t, dir)
	whole(t, dir)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	random := rand.New(rand.NewPCG(20261122, 5))
	found, harmless := 0, 0
	for range flips {
		at := random.IntN(len(good))
		bit := byte(1) << random.IntN(8)
		if _, err := f.WriteAt([]byte{good[at] ^ bit}, int64(at)); err != nil {
			t.Fatal(err)
		}
		got := contents(t, dir)
		_, err := verify(t, dir, AuditCheck{})
		b, isBreak := errors.AsType[*AuditBreak](err)
		switch {
		case err == nil && !reflect.DeepEqual(got, want):
			t.Errorf("bit %#x of byte %d: records became others, and nothing was found", bit, at)
		case err == nil:
			harmless++
		case got != nil && isBreak && b.What != FaultTables && b.What != FaultUnrecorded && b.What != FaultEnd && b.What != FaultFormat:
			found++
			if seq := firstDifference(got, want); seq != b.Seq {
				t.Errorf("bit %#x of byte %d: record %d is the first that became another; found was %v", bit, at, seq, err)
			}
		default:
			found++ // in another table, or in what holds the file together
		}
		if _, err := f.WriteAt(good[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d bytes: %d flips found, %d without consequence", len(good), found, harmless)
	if found == 0 {
		t.Error("nothing was found")
	}
	whole(t, dir)
}

// firstDifference is the number of the first record that is not as it was.
func firstDifference(got, want []auditRecord) int64 {
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			if i < len(got) && got[i].seq < want[i].seq {
				return got[i].seq // one that was not there
			}
			return want[i].seq
		}
	}
	return int64(len(want)) + 1
}

// Verification of a journal that was changed behind the chain, bit by bit.
func TestAuditFlippedByteOfAJournal(t *testing.T) {
	dir := filled(t, Options{}, 2)
	w := reopened(t, dir, "&mode=rw")
	defer w.Close()
	runs, err := w.Runs(t.Context(), RunFilter{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := w.Entries(t.Context(), runs[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		for i := range e.Body {
			body := []byte(string(e.Body))
			body[i] ^= 1 << (i % 7)
			if _, err := w.db.ExecContext(t.Context(), "UPDATE ev SET body = CAST(? AS TEXT) WHERE run = ? AND seq = ?", body, int64(e.Run), e.Seq); err != nil {
				t.Fatal(err)
			}
			_, err := w.VerifyAudit(t.Context(), AuditCheck{})
			if b, ok := errors.AsType[*AuditBreak](err); !ok || b.What != FaultTables || b.Kind != string(e.Kind) {
				t.Fatalf("byte %d of entry %d (%s): %v", i, e.Seq, e.Kind, err)
			}
		}
		if _, err := w.db.ExecContext(t.Context(), "UPDATE ev SET body = ? WHERE run = ? AND seq = ?", string(e.Body), int64(e.Run), e.Seq); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.VerifyAudit(t.Context(), AuditCheck{}); err != nil {
		t.Error(err)
	}
}
