package connector

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
)

const maxCSVRecord = 16 << 20

var errCSVRecord = fmt.Errorf("a record is larger than %d MiB", maxCSVRecord>>20)

// CSVRows reads one of the server's exports, row by row, each by column. The server
// names the columns in the first row. A row that it wrote before a column appeared
// is shorter than that and lacks the column; what stands beyond the last column
// comes under the empty name. An error ends the rows.
func CSVRows(r io.Reader) iter.Seq2[map[string]string, error] {
	return func(yield func(map[string]string, error) bool) {
		limited := &recordLimit{r: r}
		d := csv.NewReader(limited)
		d.FieldsPerRecord = -1
		d.ReuseRecord = true
		var columns []string
		for {
			limited.left = maxCSVRecord
			record, err := d.Read()
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(nil, fmt.Errorf("read CSV: %w", err))
				return
			case columns == nil:
				columns = append(columns, record...)
				continue
			}
			row := make(map[string]string, len(columns))
			for i, text := range record {
				name := ""
				if i < len(columns) {
					name = columns[i]
				}
				row[name] = text
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// recordLimit bounds what is read for one record, so that a quote that is never
// closed does not fill the memory.
type recordLimit struct {
	r    io.Reader
	left int
}

func (l *recordLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errCSVRecord
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
