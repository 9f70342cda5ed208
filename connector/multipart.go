package connector

import (
	"bytes"
	"fmt"
	"maps"
	"mime/multipart"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Upload is a file for the server.
type Upload struct {
	Name    string
	Content []byte // at most 5 MB; the server answers HTTP 413 to more
}

const maxUploadBytes = 5 << 20

// multipartBody makes the body of an upload. The server reads the file from the
// field named file (REST guide 4.0.0, uploads); a field with an empty text is left
// out.
func multipartBody(file Upload, fields map[string]string) (body, error) {
	if len(file.Content) > maxUploadBytes {
		return body{}, fmt.Errorf("upload %q: %w: %d bytes; the server takes at most %d", clip(file.Name, 80), ErrInvalid, len(file.Content), maxUploadBytes)
	}
	if len(file.Content) == 0 {
		return body{}, fmt.Errorf("upload %q: %w: it is empty", clip(file.Name, 80), ErrInvalid)
	}
	if file.Name == "" || len(file.Name) > 255 || !utf8.ValidString(file.Name) || strings.ContainsFunc(file.Name, unicode.IsControl) {
		return body{}, fmt.Errorf("upload %q: %w: a file name has 1 to 255 characters and no control characters", clip(file.Name, 80), ErrInvalid)
	}
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if fields[name] == "" {
			continue
		}
		if err := w.WriteField(name, fields[name]); err != nil {
			return body{}, fmt.Errorf("upload %q: field %s: %w", clip(file.Name, 80), name, err)
		}
	}
	part, err := w.CreateFormFile("file", file.Name)
	if err == nil {
		_, err = part.Write(file.Content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return body{}, fmt.Errorf("upload %q: %w", clip(file.Name, 80), err)
	}
	return body{w.FormDataContentType(), out.Bytes()}, nil
}
