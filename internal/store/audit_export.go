package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// An export is a text of lines, each one JSON object: where the chain stands before
// the first record, the records, and where it stands after the last. Anybody can
// verify it with nothing but SHA-256; see chainHash. Every byte counts: a line that
// was written in another way is not what was exported.

// maxExportLine bounds what is read as one line.
const maxExportLine = 16 << 20

// exportMark is how a place in the chain stands in an export.
type exportMark struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

func (m AuditMark) exported() exportMark { return exportMark{m.Seq, m.Hash.String()} }

type exportHead struct {
	Format int        `json:"erbridge_audit"`
	After  exportMark `json:"after"`
}

type exportEnd struct {
	End exportMark `json:"end"`
}

const exportFormat = 1

// exportTime is a time to the microsecond, always of the same length.
const exportTime = "2006-01-02T15:04:05.000000Z"

// appendRecord appends the line of a record, without the end of the line.
func appendRecord(b []byte, r *auditRecord) []byte {
	b = strconv.AppendInt(append(b, `{"seq":`...), r.seq, 10)
	b = time.UnixMicro(r.at).UTC().AppendFormat(append(b, `,"at":"`...), exportTime)
	b = appendText(append(b, `","kind":`...), r.kind)
	b = append(append(b, `,"hash":"`...), r.hash.String()...)
	b = append(append(b, `","body":`...), r.body...)
	return append(b, '}')
}

// ExportAudit writes the records that were made from since on and before until, each
// of which may be zero, with what is needed to verify them elsewhere. Records are
// never left out in between. It stops with an *AuditBreak where the chain is broken;
// what was written up to there is good, and has no last line.
func (r *Reader) ExportAudit(ctx context.Context, w io.Writer, since, until time.Time) (report AuditReport, err error) {
	err = r.audited(ctx, func(s *snapshot) error {
		first, last, err := s.span(since, until)
		if err != nil {
			return damaged(0, err)
		}
		chain := chainCheck{}
		if chain.last, err = s.before(first); err != nil {
			return damaged(first-1, err)
		}
		out := bufio.NewWriterSize(w, 1<<16)
		line := func(text []byte) error {
			_, err := out.Write(append(text, '\n'))
			return err
		}
		err = line(plainJSON(exportHead{exportFormat, chain.last.exported()}))
		var text []byte
		if err == nil {
			err = s.records(first, last, func(r *auditRecord) error {
				if err := chain.add(r); err != nil || chain.suspect != nil {
					return err
				}
				if r.at < minExportTime || r.at > maxExportTime {
					return r.broken(FaultFormat, "its time lies outside of the years 0 to 9999")
				}
				text = appendRecord(text[:0], r)
				return line(text)
			})
		}
		if err == nil {
			err = chain.finish()
		}
		if err == nil {
			err = line(plainJSON(exportEnd{chain.last.exported()}))
		}
		report = AuditReport{First: first, Head: chain.last, Records: chain.records, At: fromMicros(chain.at)}
		return errors.Join(damaged(chain.last.Seq, err), out.Flush())
	})
	return report, err
}

// The times that exportTime can write.
var (
	minExportTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	maxExportTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() - 1
)

// span finds the records of a time: from the first one made then to the last one.
func (s *snapshot) span(since, until time.Time) (first, last int64, err error) {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !since.IsZero() {
		from = micros(since)
	}
	if !until.IsZero() {
		to = micros(until)
	}
	err = s.each("SELECT min(seq), max(seq) FROM audit WHERE at >= ? AND at < ?", []any{from, to}, func(row []driver.Value) error {
		first, last = number(row[0]), number(row[1])
		return nil
	})
	return first, last, err
}

// before is the mark that a record stands behind.
func (s *snapshot) before(seq int64) (m AuditMark, err error) {
	found := false
	err = s.each("SELECT seq, hash FROM audit WHERE seq = ?1 UNION ALL SELECT seq, hash FROM audit_anchor WHERE seq = ?1 LIMIT 1", []any{seq - 1},
		func(row []driver.Value) error {
			hash := blob(row[1])
			if len(hash) == len(m.Hash) {
				m, found = AuditMark{number(row[0]), AuditHash(hash)}, true
			}
			return nil
		})
	if err == nil && !found && seq > 1 {
		err = missing(seq-1, seq-1, fmt.Sprintf("record %d cannot be verified without it", seq))
	}
	return m, err
}

// VerifyAuditFile looks at an export as VerifyAudit looks at a store. What the records
// tell is not compared with anything.
func VerifyAuditFile(in io.Reader, check AuditCheck) (report AuditReport, err error) {
	chain := chainCheck{expect: check.Expect}
	v := &exportVerifier{chain: &chain}
	lines := bufio.NewReaderSize(in, 1<<16)
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if errors.Is(err, io.EOF) {
			err = &AuditBreak{Seq: chain.last.Seq + 1, What: FaultMissing, Text: "the file ends in the middle of this line"}
		}
		behind := chain.suspect != nil
		if err == nil {
			err = v.take(line)
		}
		if err != nil {
			if behind {
				n-- // this line tells what is wrong with the one before
			}
			return v.report(), fmt.Errorf("line %d: %w", n, err)
		}
	}
	return v.report(), v.end()
}

// readLine is the next line without its end; a line without one is io.EOF.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxExportLine {
			return nil, fmt.Errorf("longer than %d bytes", maxExportLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(line, []byte("\n")), err
		}
	}
}

// exportVerifier reads the lines of an export.
type exportVerifier struct {
	chain *chainCheck
	first int64
	begun bool
	ended bool
}

func (v *exportVerifier) report() AuditReport {
	return AuditReport{First: v.first, Head: v.chain.last, Records: v.chain.records, At: fromMicros(v.chain.at)}
}

func (v *exportVerifier) take(line []byte) error {
	next := v.chain.last.Seq + 1
	format := func(text string) error { return &AuditBreak{Seq: next, What: FaultFormat, Text: text} }
	if v.ended {
		return format("something follows what is said to be the end")
	}
	if !v.begun {
		return v.begin(line)
	}
	if v.chain.suspect != nil {
		next++
	}
	var end exportEnd
	if json.Unmarshal(line, &end) == nil && bytes.Equal(plainJSON(end), line) {
		if err := v.chain.finish(); err != nil {
			return err
		}
		if end.End != v.chain.last.exported() {
			return missing(v.chain.last.Seq+1, end.End.Seq, "the last line says that the export goes on up to there")
		}
		v.ended = true
		return nil
	}
	r, err := parseRecord(line)
	if err != nil {
		return errors.Join(v.chain.finish(), format(err.Error()))
	}
	return v.chain.add(r)
}

func (v *exportVerifier) begin(line []byte) error {
	var head exportHead
	if json.Unmarshal(line, &head) != nil || head.Format == 0 {
		return errors.New("this is no export of an audit record, or its first line was changed")
	}
	if head.Format != exportFormat {
		return fmt.Errorf("export of format %d; this erbridge knows %d", head.Format, exportFormat)
	}
	hash, err := ParseAuditHash(head.After.Hash)
	if err != nil || !bytes.Equal(plainJSON(head), line) {
		return errors.New("the first line is not as it was written")
	}
	v.begun, v.first = true, head.After.Seq+1
	return v.chain.reach(AuditMark{head.After.Seq, hash})
}

func (v *exportVerifier) end() error {
	if !v.ended {
		if err := v.chain.finish(); err != nil {
			return err
		}
		return &AuditBreak{Seq: v.chain.last.Seq + 1, What: FaultMissing, Text: "the export has no last line: its end is missing, or it was made of a chain that is broken here"}
	}
	return v.chain.end()
}

// parseRecord reads a line that has to be written as appendRecord writes it.
func parseRecord(line []byte) (*auditRecord, error) {
	var in struct {
		Seq  int64           `json:"seq"`
		At   string          `json:"at"`
		Kind string          `json:"kind"`
		Hash string          `json:"hash"`
		Body json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return nil, fmt.Errorf("the line is no record: %w", err)
	}
	at, err := time.Parse(exportTime, in.At)
	if err != nil {
		return nil, fmt.Errorf("its time cannot be read: %w", err)
	}
	r := &auditRecord{seq: in.Seq, at: at.UnixMicro(), kind: in.Kind, body: string(in.Body)}
	if r.hash, err = ParseAuditHash(in.Hash); err != nil {
		return nil, err
	}
	if !bytes.Equal(appendRecord(nil, r), line) {
		return nil, errors.New("the line says the same in another way than it was written")
	}
	return r, nil
}
