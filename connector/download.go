package connector

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// stream makes a call whose answer is handed on while it arrives. wants says which
// content types are the answer; anything else is judged as JSON, which is how the
// server refuses, and is an error. The first tries are repeated like those of a
// read, so k has no effect on the server. save gets the length as the server told
// it, -1 if it did not. After an error what was saved is not whole.
func (c *Client) stream(ctx context.Context, k call, in any, wants func(contentType string) bool,
	save func(r io.Reader, length int64) error) (err error) {
	if c.old != nil && k.base == baseV1 {
		if k, err = c.old.same(k); err != nil {
			return err
		}
	}
	sent, err := bodyOf(k, in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.open(ctx, k, sent, wants)
	if err != nil {
		return downloadError(ctx, k, err)
	}
	defer resp.Body.Close()
	// The whole may take long; silence may not.
	watchdog := time.AfterFunc(c.o.Timeout, func() { cancel(errSilent) })
	defer watchdog.Stop()
	body := &watchedReader{r: resp.Body, stir: func() { watchdog.Reset(c.o.Timeout) }}
	if err := save(body, resp.ContentLength); err != nil {
		return downloadError(ctx, k, err)
	}
	return nil
}

// export makes a call that answers with CSV and copies it to w. A filter that
// nothing fits is ErrRefused on some calls and a header alone on others.
func (c *Client) export(ctx context.Context, k call, in any, w io.Writer) (n int64, err error) {
	return c.fetch(ctx, k, in, isCSV, w)
}

// fetch makes a call that answers with something to keep and copies it to w.
func (c *Client) fetch(ctx context.Context, k call, in any, wants func(contentType string) bool, w io.Writer) (n int64, err error) {
	defer c.metrics.observe(k.id, time.Now(), &err)
	err = c.stream(ctx, k, in, wants, func(r io.Reader, _ int64) error {
		target := &checkedWriter{w: w}
		n, err = io.Copy(target, r)
		switch {
		case target.err != nil:
			return fmt.Errorf("write: %w", target.err)
		case err != nil:
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		return nil
	})
	return n, err
}

// isFile reports whether a content type is that of an archive or a program, not
// of JSON or a page.
func isFile(contentType string) bool {
	return !strings.HasPrefix(contentType, typeJSON) && !strings.HasPrefix(contentType, "text/")
}

func isCSV(contentType string) bool { return strings.HasPrefix(contentType, "text/csv") }

var errSilent = errors.New("the server fell silent")

func downloadError(ctx context.Context, k call, err error) error {
	if _, ok := errors.AsType[*APIError](err); ok {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	if _, ok := errors.AsType[*callError](err); ok {
		return err
	}
	return &callError{method: k.method, path: k.path, err: err}
}

// open sends a read and returns the answer with its body open.
func (c *Client) open(ctx context.Context, k call, sent body, wants func(contentType string) bool) (*http.Response, error) {
	base, err := c.baseOf(ctx, k)
	if err != nil {
		return nil, err
	}
	var tok token
	if !k.open {
		if tok, err = c.session.get(ctx, c, 0); err != nil {
			return nil, err
		}
	}
	for again := false; ; again = true {
		req, err := c.request(ctx, k, base, tok.text, sent)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "*/*")
		// Compressed on the way, the length would no longer be the file's.
		req.Header.Set("Accept-Encoding", "identity")
		retryable, err := retryablehttp.FromRequest(req)
		if err != nil {
			return nil, err
		}
		resp, err := c.downloads.Do(retryable)
		if err != nil {
			return nil, plainError(err)
		}
		if resp.StatusCode == http.StatusOK && wants(resp.Header.Get("Content-Type")) {
			if coding := resp.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
				_ = resp.Body.Close()
				return nil, fmt.Errorf("%w: what came is in the coding %q, which was not asked for", errNoFile, clip(oneLine(coding), 32))
			}
			return resp, nil
		}
		a, err := readAnswer(resp)
		if err != nil {
			return nil, err
		}
		if a.status == http.StatusUnauthorized && !again && !k.open {
			if tok, err = c.session.get(ctx, c, tok.generation); err != nil {
				return nil, err
			}
			continue
		}
		if err := c.judge(k, a, nil); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s", errNoFile, c.describe(a))
	}
}

// errNoFile means that the server said success and sent no file.
var errNoFile = fmt.Errorf("%w: no file came", ErrNotJSON)

// DownloadInfo says what was downloaded.
type DownloadInfo struct {
	Bytes  int64
	Kind   string // such as "tar" or "zst", found by looking, not by name
	SHA256 string // hex
}

// copy copies r to w, adds it up, and holds it against the length, which is -1 if
// unknown. What is not whole is bad.
func (info *DownloadInfo) copy(w io.Writer, r io.Reader, length int64, bad error) (err error) {
	sum, target := sha256.New(), &checkedWriter{w: w}
	info.Bytes, err = io.Copy(io.MultiWriter(target, sum), r)
	switch {
	case target.err != nil:
		return fmt.Errorf("write: %w", target.err)
	case err != nil:
		return fmt.Errorf("%w: after %d bytes: %w", bad, info.Bytes, err)
	case length >= 0 && info.Bytes != length:
		return fmt.Errorf("%w: got %d of %d bytes", bad, info.Bytes, length)
	}
	info.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// checkedWriter keeps the error of w apart from errors of reading.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	c.err = err
	return n, err
}

// watchedReader calls stir whenever something arrives.
type watchedReader struct {
	r    io.Reader
	stir func()
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.stir()
	}
	return n, err
}
