package ersim

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/url"
	"strings"
)

// readPairs reads a query string or a form. The first of several values counts. Unlike
// in net/url a semicolon is a character like any other, as it is to the server's
// framework: SQL ends in one.
func (a *args) readPairs(text string) {
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name = unescaped(name); name == "" || seen[name] {
			continue
		}
		seen[name] = true
		a.values[name] = unescaped(value)
	}
}

// unescaped is the text behind plus signs and percent signs; where they make no sense
// they stay.
func unescaped(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return plain
}

// readMultipart reads fields and the upload named file, up to where the body is no
// multipart body any more, which the framework does not mind.
func (a *args) readMultipart(body []byte, boundary string) {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if err != nil {
			return
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return
		}
		if part.FormName() == "file" && part.FileName() != "" {
			a.file, a.name = content, part.FileName()
			continue
		}
		a.values[part.FormName()] = string(content)
	}
}
