package evidence

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// The kinds of archives.
const (
	KindTar     = "tar"
	KindZstd    = "zst"
	KindUnknown = "unknown" // neither; kept as evidence all the same
)

const (
	// maxListed bounds how much of an archive is unpacked to see what is in it: a few
	// kilobytes may unpack to terabytes.
	maxListed = 64 << 20
	maxNames  = 100
	maxName   = 4096 // bytes of a name, which is what a path has at most; formats allow more
	tarBlock  = 512
)

// contents is what was seen of an archive while it passed by.
type contents struct {
	kind   string
	names  []string
	broken string // why it is no whole archive
}

// look reads an archive to its end, whatever is in it. Names in it are told, and
// nothing is ever unpacked to a file. An archive that is broken inside is evidence all
// the same, so it is no error.
func look(r io.Reader) (c contents) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, _ := buffered.Peek(tarBlock)
	c.kind = kindOf(head)
	var broken error
	switch c.kind {
	case KindTar:
		c.names, broken = caught(list, buffered)
	case KindZstd:
		c.names, broken = caught(listPacked, buffered)
	default:
		c.broken = "its first bytes are neither those of a tar archive nor of zstd"
	}
	if broken != nil {
		c.broken = "is broken inside: " + broken.Error()
	}
	// Who writes into the pipe waits for it to be read.
	_, _ = io.Copy(io.Discard, buffered)
	return c
}

// caught keeps a panic over what an attacker made from ending the program.
func caught(list func(io.Reader) ([]string, error), r io.Reader) (names []string, err error) {
	defer func() {
		if why := recover(); why != nil {
			names, err = nil, fmt.Errorf("it cannot be looked into: %v", why)
		}
	}()
	return list(r)
}

func listPacked(r io.Reader) ([]string, error) {
	unpacker, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxListed))
	if err != nil {
		return nil, err
	}
	defer unpacker.Close()
	return list(unpacker)
}

func list(r io.Reader) (names []string, err error) {
	bounded := &io.LimitedReader{R: r, N: maxListed}
	archive := tar.NewReader(bounded)
	for len(names) < maxNames {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF), err != nil && bounded.N <= 0:
			return names, nil
		case errors.Is(err, tar.ErrInsecurePath): // only where GODEBUG asks for it; no path is used
		case err != nil:
			return names, err
		}
		names = append(names, clipName(header.Name))
	}
	return names, nil
}

// clipName bounds a name, so that what an attacker writes does not make the manifest
// larger than what is read of one.
func clipName(name string) string {
	if len(name) <= maxName {
		return name
	}
	return strings.ToValidUTF8(name[:maxName], "") + "..."
}

// kindOf looks at the first block. The name's ending cannot be trusted: the guide and
// the releases differ in it.
func kindOf(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878, section 3.1.1
		return KindZstd
	case len(head) >= tarBlock && string(head[257:262]) == "ustar": // POSIX.1-1988, ustar format
		return KindTar
	case len(head) >= tarBlock && oldTar(head[:tarBlock]):
		return KindTar
	}
	return KindUnknown
}

// oldTar reports whether a block is a tar header by its own sum, as agents may write
// the format from before POSIX.
func oldTar(block []byte) bool {
	want, err := strconv.ParseInt(strings.Trim(string(block[148:156]), " \x00"), 8, 32)
	if err != nil || block[0] == 0 {
		return false
	}
	var sum int64
	for i, b := range block {
		if i >= 148 && i < 156 {
			b = ' '
		}
		sum += int64(b)
	}
	return sum == want
}
