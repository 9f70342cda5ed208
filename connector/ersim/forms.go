package ersim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/url"
)

func (a *args) readForm(body []byte) error {
	fields, err := url.ParseQuery(string(body))
	if err != nil {
		return fmt.Errorf("form: %w", err)
	}
	for name, values := range fields {
		a.values[name] = values[0]
	}
	return nil
}

// readMultipart reads fields and the upload named file.
func (a *args) readMultipart(body []byte, boundary string) error {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("multipart: %w", err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return fmt.Errorf("multipart: %w", err)
		}
		if part.FormName() == "file" && part.FileName() != "" {
			a.file, a.name = content, part.FileName()
			continue
		}
		a.values[part.FormName()] = string(content)
	}
}
