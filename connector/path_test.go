package connector

import (
	"errors"
	"net/http"
	"testing"
)

// TestPathsStayWhatTheyAre names objects so that the server, which undoes the escapes
// before it looks for the call, would do another one.
func TestPathsStayWhatTheyAre(t *testing.T) {
	server := newServer(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was sent", r.Method, r.URL) })
	c, ctx := newClient(t, server.URL), t.Context()
	for _, part := range []string{"", ".", "..", "1/tags", "a/b", "a\x00", "a\n", "a\x7f"} {
		_, get := c.Hosts.Get(ctx, part)
		_, table := c.Schema.Table(ctx, part)
		_, node := c.V0.Node(ctx, part)
		for name, err := range map[string]error{
			"host": get, "table": table, "node": node,
			"delete": c.Hosts.Delete(ctx, part, DeleteForGood), "pack": c.Packs.Delete(ctx, part, DeleteForGood),
			"tag": c.Packs.AddTag(ctx, part, "a"),
		} {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%s %q: %v", name, part, err)
			}
		}
	}
}
