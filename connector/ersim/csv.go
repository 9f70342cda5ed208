package ersim

import (
	"bytes"
	"encoding/csv"
	"net/http"
	"strings"
)

// csvFile is the answer to an export: a table as Python's csv module writes it. A row
// may be shorter than the header.
func csvFile(name string, header []string, rows [][]string) answer {
	body := csvText(header, rows)
	return answer{
		status: http.StatusOK, contentType: "text/csv; charset=utf-8", body: body,
		stream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Disposition", "attachment; filename="+name)
			answer{status: http.StatusOK, contentType: "text/csv; charset=utf-8", body: body}.write(w, r, false)
		}),
	}
}

func csvText(header []string, rows [][]string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	// A buffer takes everything.
	_ = w.Write(header)
	_ = w.WriteAll(rows)
	return b.Bytes()
}

// pyList is a list of texts as Python prints it.
func pyList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = "'" + text + "'"
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
