package lint

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/itchyny/gojq"

	"github.com/erbridge/erbridge/internal/jq"
)

// constants finds regular expressions and networks, written out as arguments, that
// are none. Whoever asks with them gets an error for every alert.
func constants(b *book) {
	for _, e := range b.expressions() {
		if !slices.ContainsFunc(askedWithConstants, func(name string) bool { return strings.Contains(e.src, name) }) {
			continue
		}
		q := b.query(e.src)
		if q == nil {
			continue
		}
		jq.Calls(q, func(f *gojq.Func) {
			if !slices.Contains(askedWithConstants, f.Name) || len(f.Args) == 0 {
				return
			}
			arg, ok := constantOf(f.Args[0])
			if !ok {
				return
			}
			why := wrongPattern(f, arg)
			if f.Name == "cidr" {
				why = wrongNetwork(arg)
			}
			if why != "" {
				b.addAt(b.placeIn(e.node, e.offset+constantPlace(e.src, f)), "PB321", why, "")
			}
		})
	}
}

// askedWithConstants are the functions whose first argument is looked at: a network for
// cidr, a regular expression for the others.
var askedWithConstants = []string{"cidr", "test", "match", "capture", "scan", "split", "splits", "sub", "gsub"}

// constantPlace is where the argument of a call begins.
func constantPlace(src string, f *gojq.Func) int {
	start := max(strings.Index(src, f.Name+"("), 0)
	if i := strings.Index(src[start:], f.Args[0].String()); i >= 0 {
		return start + i
	}
	return start
}

// wrongPattern says why a regular expression, or its flags, cannot be used.
func wrongPattern(f *gojq.Func, arg any) string {
	pattern, isText := arg.(string)
	if !isText || f.Name == "split" && len(f.Args) == 1 {
		return "" // test([PATTERN, FLAGS]) is seldom; split with one argument takes a plain text
	}
	flags := ""
	if q := flagsOf(f); q != nil {
		given, _ := constantOf(q)
		flags, _ = given.(string)
	}
	if err := jq.CheckPattern(pattern, flags); err != nil {
		return err.Error()
	}
	return ""
}

// flagsOf is the argument of a call that holds the flags of the regular expression.
func flagsOf(f *gojq.Func) *gojq.Query {
	at := 1
	if f.Name == "sub" || f.Name == "gsub" {
		at = 2
	}
	if len(f.Args) <= at {
		return nil
	}
	return f.Args[at]
}

// wrongNetwork says why a network, or one of a list of them, is none.
func wrongNetwork(v any) string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, item := range list {
		text, isText := item.(string)
		if !isText {
			return fmt.Sprintf("cidr takes networks, and %s is none", gojq.Preview(item))
		}
		if _, err := netip.ParsePrefix(text); err != nil {
			return fmt.Sprintf("cidr takes networks such as 10.0.0.0/8 or 10.1.2.3/32, and %q is none", text)
		}
	}
	return ""
}
