package store

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"
)

// The first byte of a packed value says how it is packed.
const (
	packedPlain = 0
	packedS2    = 1
)

// maxUnpacked bounds what a packed value may grow to.
const maxUnpacked = 64 << 20

func pack(data []byte) []byte {
	out := make([]byte, 1+s2.MaxEncodedLen(len(data)))
	n := len(s2.Encode(out[1:], data))
	out[0] = packedS2
	return out[: 1+n : 1+n]
}

func unpack(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, errors.New("packed value is empty")
	}
	switch body := packed[1:]; packed[0] {
	case packedPlain:
		return body, nil
	case packedS2:
		if n, err := s2.DecodedLen(body); err != nil || n > maxUnpacked {
			return nil, fmt.Errorf("packed value: length %d: %w", n, errors.Join(err, s2.ErrTooLarge))
		}
		return s2.Decode(nil, body)
	}
	return nil, fmt.Errorf("packed value: unknown kind %d", packed[0])
}
