package connector

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func tarOf(t *testing.T, format tar.Format, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	content := bytes.Repeat([]byte("x"), size)
	if err := w.WriteHeader(&tar.Header{Name: "m.exe", Mode: 0o600, Size: int64(size), Format: format}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDownload(t *testing.T) {
	archive := tarOf(t, tar.FormatUSTAR, 300_000)
	packed := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, bytes.Repeat([]byte{7}, 100)...)
	old := bytes.Clone(archive)
	copy(old[257:], make([]byte, 8)) // without magic, as before POSIX
	fixTarSum(old)
	file := func(w http.ResponseWriter, body []byte, length int) {
		w.Header().Set("Content-Type", "application/octet-stream")
		if length >= 0 {
			w.Header().Set("Content-Length", strconv.Itoa(length))
		}
		_, _ = w.Write(body)
	}
	for _, tt := range []struct {
		name   string
		handle http.HandlerFunc
		kind   string
		body   []byte // what must have been written
		is     error
		text   string
	}{
		{"tar", func(w http.ResponseWriter, _ *http.Request) { file(w, archive, len(archive)) }, "tar", archive, nil, ""},
		{"tar in chunks", func(w http.ResponseWriter, _ *http.Request) {
			file(w, archive[:1000], -1)
			w.(http.Flusher).Flush()
			_, _ = w.Write(archive[1000:])
		}, "tar", archive, nil, ""},
		{"tar from before POSIX", func(w http.ResponseWriter, _ *http.Request) { file(w, old, len(old)) }, "tar", old, nil, ""},
		{"zstd", func(w http.ResponseWriter, _ *http.Request) { file(w, packed, len(packed)) }, "zst", packed, nil, ""},
		{"empty", func(w http.ResponseWriter, _ *http.Request) { file(w, nil, 0) }, "", nil, ErrBadArchive, "it is empty"},
		{"cut short", func(w http.ResponseWriter, _ *http.Request) { file(w, archive[:200_000], len(archive)) }, "", nil, ErrBadArchive, "after 200000 bytes"},
		{"cut in chunks", func(w http.ResponseWriter, _ *http.Request) {
			file(w, archive[:200_000], -1)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "", nil, ErrBadArchive, "unexpected EOF"},
		{"cut before the first block ends", func(w http.ResponseWriter, _ *http.Request) { file(w, archive[:100], len(archive)) }, "", nil, ErrBadArchive, ""},
		{"something else", func(w http.ResponseWriter, _ *http.Request) { file(w, []byte("cg-1 junk of twenty"), 19) }, "", []byte{}, ErrBadArchive, "neither tar nor zstd"},
		{"page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, htmlPage)
		}, "", []byte{}, ErrNotJSON, "base path"},
		{"unknown session", func(w http.ResponseWriter, _ *http.Request) {
			answerJSON(w, 200, `{"status":"failure","message":"Please provide a valid session id"}`)
		}, "", []byte{}, ErrNotFound, "valid session id"},
		{"before it is done", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "", []byte{}, errServer, ""},
		{"forbidden", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 403, `{}`) }, "", []byte{}, ErrForbidden, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := newServer(t, tt.handle)
			var got bytes.Buffer
			info, err := newClient(t, server.URL).Carves.Download(t.Context(), "SESSION", &got)
			if !errors.Is(err, tt.is) {
				t.Fatalf("got %v, want %v", err, tt.is)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.text) {
					t.Errorf("%q does not say %q", err, tt.text)
				}
				if tt.body != nil && got.Len() > 0 {
					t.Errorf("%d bytes were written", got.Len())
				}
				return
			}
			sum := sha256.Sum256(tt.body)
			want := DownloadInfo{Bytes: int64(len(tt.body)), Kind: tt.kind, SHA256: hex.EncodeToString(sum[:])}
			if info != want || !bytes.Equal(got.Bytes(), tt.body) {
				t.Errorf("got %+v, want %+v", info, want)
			}
		})
	}
}

// fixTarSum writes the checksum of a header anew.
func fixTarSum(block []byte) {
	sum := 0
	for i, b := range block[:tarBlock] {
		if i >= 148 && i < 156 {
			b = ' '
		}
		sum += int(b)
	}
	copy(block[148:156], []byte(strconv.FormatInt(1<<18+int64(sum), 8)[1:]+"\x00 "))
}

func TestDownloadLogsInAgain(t *testing.T) {
	archive := tarOf(t, tar.FormatUSTAR, 10)
	var calls atomic.Int32
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			answerJSON(w, 401, `{"message":{"message":"expired"}}`)
			return
		}
		_, _ = w.Write(archive)
	})
	if _, err := newClient(t, server.URL).Carves.Download(t.Context(), "S", io.Discard); err != nil || calls.Load() != 2 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

func TestDownloadStopsWhenTheServerFallsSilent(t *testing.T) {
	archive := tarOf(t, tar.FormatUSTAR, 300_000)
	synctest.Test(t, func(t *testing.T) {
		c := inPipes(t, withLogin(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(archive[:100_000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}), func(o *Options) { o.BasePath, o.Timeout = "/api", time.Minute })
		began := time.Now()
		if _, err := c.Carves.Download(t.Context(), "S", io.Discard); !errors.Is(err, errSilent) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it waited for %v", took)
		}
	})
}

func TestDownloadIsRepeatedUntilItBegins(t *testing.T) {
	archive := tarOf(t, tar.FormatUSTAR, 10)
	var calls atomic.Int32
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(archive)
	})
	c := newClient(t, server.URL, func(o *Options) { o.Retries = 2 })
	if _, err := c.Carves.Download(t.Context(), "S", io.Discard); err != nil || calls.Load() != 2 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

func TestDownloadWithoutAnswer(t *testing.T) {
	server := newServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := newClient(t, server.URL, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	c.session.token = token{text: "t", generation: 1, at: time.Now()} // a login has the same time, and may need more
	if _, err := c.Carves.Download(t.Context(), "S", io.Discard); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %v", err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestDownloadToAFullDisk(t *testing.T) {
	archive := tarOf(t, tar.FormatUSTAR, 10)
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) })
	_, err := newClient(t, server.URL).Carves.Download(t.Context(), "S", fullDisk{})
	if err == nil || errors.Is(err, ErrBadArchive) || !strings.Contains(err.Error(), "write: no space left") {
		t.Errorf("got %v", err)
	}
}
