package catalogue

import "strings"

// Match finds the call below a base that a method and a path are, nil if there is
// none. Of two that fit, the one with the literal part is meant, as on the server:
// GET /hosts/count is not GET /hosts/{node_id}. A query does not belong to the path,
// and one slash at the end is overlooked.
func Match(base Base, method, path string) *Call {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	var found *Call
	literal := -1
	for _, s := range Sections() {
		for i := range s.Calls {
			c := &s.Calls[i]
			if c.Base != base || c.Method != method {
				continue
			}
			if n, ok := c.matches(parts); ok && n > literal {
				found, literal = c, n
			}
		}
	}
	return found
}

// matches reports whether the parts of a path are those of the call, and how many
// of them are literal.
func (c *Call) matches(parts []string) (literal int, ok bool) {
	own := strings.Split(strings.TrimSuffix(c.Path, "/"), "/")
	if len(own) != len(parts) {
		return 0, false
	}
	for i, part := range own {
		switch {
		case strings.HasPrefix(part, "{"):
			if parts[i] == "" {
				return 0, false
			}
		case part != parts[i]:
			return 0, false
		default:
			literal++
		}
	}
	return literal, true
}
