package connector

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// DownloadsService is what the server's proxy hands to anybody, without a login:
// its certificate and the tools that put agents on hosts. Release 2.1.2 has them on
// another port, next to the agents' traffic: ErrUnavailable.
//
// A file is copied to w while it arrives, and nothing is written before its start
// is known to be what was asked for. After an error, what w has is not the whole
// file and shall be thrown away. A file that is empty, cut short or of another kind
// is ErrBadFile.
type DownloadsService struct{ c *Client }

// ErrBadFile means that a download was empty, cut short, or is not the kind of file
// that was asked for.
var ErrBadFile = errors.New("download is not the whole file")

// Certificate fetches the server's certificate. It comes over the very connection
// that it is to vouch for: compare it with one that came another way.
// API: GET /downloads/certificate.crt (REST guide 4.0.0, "Downloads").
func (s *DownloadsService) Certificate(ctx context.Context, w io.Writer) (DownloadInfo, error) {
	return s.file(ctx, callDownloadCertificate, w, "pem", "der")
}

// WindowsTool fetches the program that puts the agent on Windows hosts.
// API: GET /downloads/windows/plgx_cpt.exe (REST guide 4.0.0, "Downloads").
func (s *DownloadsService) WindowsTool(ctx context.Context, w io.Writer) (DownloadInfo, error) {
	return s.file(ctx, callDownloadCptWindows, w, "exe")
}

// LinuxTool fetches the program that puts the agent on Linux hosts.
// API: GET /downloads/linux/plgx_cpt (REST guide 4.0.0, "Downloads").
func (s *DownloadsService) LinuxTool(ctx context.Context, w io.Writer) (DownloadInfo, error) {
	return s.file(ctx, callDownloadCptLinux, w, "elf", "script")
}

// MacTool fetches the script that puts the agent on macOS hosts.
// API: GET /downloads/plgx_cpt.sh (REST guide 4.0.0, "Downloads").
func (s *DownloadsService) MacTool(ctx context.Context, w io.Writer) (DownloadInfo, error) {
	return s.file(ctx, callDownloadCptMacos, w, "script")
}

func (s *DownloadsService) file(ctx context.Context, k call, w io.Writer, kinds ...string) (info DownloadInfo, err error) {
	defer s.c.metrics.observe(k.id, time.Now(), &err)
	err = s.c.stream(ctx, k, nil, isNoPage, func(r io.Reader, length int64) error {
		info, err = copyFile(w, r, length, kinds)
		return err
	})
	if refusal, ok := errors.AsType[*APIError](err); ok && good(refusal.Status) {
		// The console answers in place of files that the proxy does not have.
		refusal.Message, refusal.kinds = "a web page came in place of the file", []error{unavailable{k}}
	}
	return info, err
}

// isNoPage reports whether a content type can be that of a file: servers guess it
// by the file's name, so it may be anything but a page or JSON.
func isNoPage(contentType string) bool {
	return !strings.HasPrefix(contentType, "text/html") && !strings.HasPrefix(contentType, typeJSON)
}

// copyFile copies r to w if it is of one of the kinds; length is -1 if unknown.
func copyFile(w io.Writer, r io.Reader, length int64, kinds []string) (info DownloadInfo, err error) {
	buffered := bufio.NewReader(r)
	head, err := buffered.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return info, fmt.Errorf("%w: %w", ErrBadFile, err)
	}
	for _, kind := range kinds {
		if bytes.HasPrefix(head, fileStarts[kind]) {
			info.Kind = kind
		}
	}
	if info.Kind == "" {
		return info, fmt.Errorf("%w: it is no %s", ErrBadFile, strings.Join(kinds, " or "))
	}
	err = info.copy(w, buffered, length, ErrBadFile)
	return info, err
}

// fileStarts is how files of a kind begin.
var fileStarts = map[string][]byte{
	"pem":    []byte("-----BEGIN "), // RFC 7468
	"der":    {0x30},                // a sequence, X.690
	"exe":    []byte("MZ"),
	"elf":    []byte("\x7fELF"),
	"script": []byte("#!"),
}
