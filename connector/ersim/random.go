package ersim

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"
)

// random is a source of its own for each thing that needs one, so that what one
// thing draws does not depend on what happened before it.
func (s *Server) random(kind string, n int64) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, kind) // a hash never fails
	return rand.New(rand.NewPCG(s.opts.Seed, h.Sum64()^uint64(n)*0x9e3779b97f4a7c15))
}

// uuid is a version 4 UUID in lower case.
func (s *Server) uuid(kind string, n int64) string {
	r := s.random(kind, n)
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}

// jitter is between half and one and a half of d.
func (s *Server) jitter(d time.Duration, kind string, n int64) time.Duration {
	return d/2 + time.Duration(s.random(kind, n).Float64()*float64(d))
}
