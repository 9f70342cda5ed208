package redact

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
)

func TestLog(t *testing.T) {
	var out bytes.Buffer
	r := mustNew(t, Settings{Builtin: []string{"passwords"}})
	plain := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	log := slog.New(Handler(plain, r.Text)).With("cmdline", "x pwd=a", "alert", "er-pwd=1")
	log.WithGroup("g").Warn("refused token=b", "err", errors.New("no: password=c"), "n", 7, slog.Group("in", "url", "https://u:d@h"), "list", []string{"secret=e"}, "fine", errors.New("fine"))
	want := `level=WARN msg="refused token=[redacted]" cmdline="x pwd=[redacted]" alert="er-pwd=1" g.err="no: password=[redacted]" g.n=7 ` +
		`g.in.url=https://u:[redacted]@h g.list="[secret=[redacted]" g.fine=fine` + "\n"
	if out.String() != want {
		t.Errorf("log\n got %s\nwant %s", out.String(), want)
	}
}
