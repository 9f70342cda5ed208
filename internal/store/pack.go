package store

import (
	_ "embed"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"github.com/erbridge/erbridge/internal/soar"
)

// The first byte of a packed value says how it is packed. packedS2 is S2 with
// dictionary 1, which holds the words of alerts and events; it may never change,
// because what is on disk needs it.
//
// Measured with alerts of 1,404 bytes: S2 with the dictionary makes them 602
// bytes in 2.7 µs; S2 without it 1,102 bytes in 1.7 µs; zstd at its fastest with
// the dictionary 470 bytes in 15 µs, more than encoding the JSON takes.
const (
	packedPlain = 0
	packedS2    = 1
)

// minPacked is the size from which packing pays: the encoder clears its tables
// for each value, which is most of the work for the event of a run.
const minPacked = 512

//go:embed dictionaries/1.txt
var dictionary1 []byte

var s2Dictionary = s2.MakeDict(dictionary1, nil)

// maxUnpacked bounds what a packed value may grow to.
const maxUnpacked = 64 << 20

// maxRecord bounds the JSON of one alert or event. It is well below maxUnpacked,
// because an alert that is merged with its stored copy grows.
const maxRecord = 16 << 20

func checkSize(data []byte) error {
	if len(data) > maxRecord {
		return fmt.Errorf("%w: %d bytes of JSON are more than %d", soar.ErrTooLarge, len(data), maxRecord)
	}
	return nil
}

// errUnreadable means that what is on disk is not what was once written.
var errUnreadable = errors.New("the stored record cannot be read")

func pack(data []byte) []byte {
	kind, body := byte(packedPlain), data
	if len(data) >= minPacked {
		// Encode needs room for the worst case; what is kept is cut to size.
		kind, body = packedS2, s2Dictionary.Encode(nil, data)
	}
	packed := make([]byte, 1+len(body))
	packed[0] = kind
	copy(packed[1:], body)
	return packed
}

// unpackedSize is how many bytes unpack makes of a value that it can unpack.
func unpackedSize(packed []byte) int {
	if len(packed) > 0 && packed[0] == packedS2 {
		if n, err := s2.DecodedLen(packed[1:]); err == nil {
			return n
		}
	}
	return len(packed)
}

func unpack(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, errors.New("packed value is empty")
	}
	body := packed[1:]
	switch packed[0] {
	case packedPlain:
		return body, nil
	case packedS2:
	default:
		return nil, fmt.Errorf("packed value: unknown kind %d", packed[0])
	}
	n, err := s2.DecodedLen(body)
	if err != nil {
		return nil, fmt.Errorf("packed value: %w", err)
	}
	if n > maxUnpacked {
		return nil, fmt.Errorf("packed value: %d bytes are more than %d", n, maxUnpacked)
	}
	data, err := s2Dictionary.Decode(nil, body)
	if err != nil {
		return nil, fmt.Errorf("packed value: %w", err)
	}
	return data, nil
}
