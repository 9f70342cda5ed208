package connector

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// call is one call of the server's API. Whether it is a read or has an effect
// cannot be told from the method: lists are POST. So each says it.
type call struct {
	id     string // as in the catalogue; the name in metrics
	method string
	path   string // below the base; {x} stands for one escaped part
	base   baseKind
	query  url.Values // not part of errors and metrics
	parts  []string   // what with has filled in, not escaped

	// effect marks calls that change something: sent once, never repeated here.
	effect bool
	// enterprise marks paths that a Community server does not have.
	enterprise bool
	// open marks calls that need no token.
	open bool
	// bare marks answers that have no status on success.
	bare bool
	// byID marks reads of one object, where a refusal means that there is none.
	byID bool
	// releases says which releases have the call; empty for all.
	releases string
}

// baseKind is what the path of a call is below.
type baseKind int

const (
	baseV1     baseKind = iota
	baseV0              // of the releases 2.x and 3.x
	baseServer          // the server's root, where its proxy serves files
	baseOwn             // the API that the client speaks, whichever it is
)

// authProbe and authProbeV0 tell the API from a web page.
var (
	authProbe   = call{id: "auth-probe", method: http.MethodGet, path: "/hosts/count", open: true}
	authProbeV0 = call{id: "auth-probe", method: http.MethodGet, path: "/nodes/", base: baseV0, open: true}
)

// with fills the parts of the path in, escaped, from left to right.
func (k call) with(parts ...string) (call, error) {
	for _, part := range parts {
		// A dot path would climb out of the section; an empty one, or one with a slash,
		// which the server does not take for escaped, would turn the call into another.
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, '/') || strings.ContainsFunc(part, unicode.IsControl) {
			return k, fmt.Errorf("%s: %w: %q cannot stand in a path", k.id, ErrInvalid, clip(part, 80))
		}
		before, rest, found := strings.Cut(k.path, "{")
		_, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			return k, fmt.Errorf("%s: %w: the path takes no more parts", k.id, ErrInvalid)
		}
		k.path = before + url.PathEscape(part) + after
	}
	k.parts = append(k.parts[:len(k.parts):len(k.parts)], parts...)
	return k, nil
}

// withID fills an id into the path.
func (k call) withID(id int64) (call, error) {
	if id <= 0 {
		return k, fmt.Errorf("%s: %w: id %d", k.id, ErrInvalid, id)
	}
	return k.with(strconv.FormatInt(id, 10))
}

// asking adds arguments of the query string; empty ones are left out.
func (k call) asking(arguments map[string]string) call {
	k.query = url.Values{}
	for name, text := range arguments {
		if text != "" {
			k.query.Set(name, text)
		}
	}
	return k
}
