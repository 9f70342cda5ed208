package actions

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
)

// What the server compares events with is one set for all hosts, which it only replaces
// as a whole. All changes of it go through connector.IOCsService.Modify, where those of
// one process wait for each other.

// maxIndicators bounds what one call adds or removes.
const maxIndicators = 5000

// wrongIndicator says why a value can be none of a type; the server takes it for one and
// never finds it. Empty when it can.
func wrongIndicator(kind, value string) string {
	value = strings.TrimSpace(value)
	shown := soar.Visible(clipRunes(value, 80))
	if digits, ok := map[string]int{"md5": 32, "sha1": 40, "sha256": 64}[kind]; ok {
		if _, err := hex.DecodeString(value); err != nil || len(value) != digits {
			return fmt.Sprintf("%q is no %s: expected %d hexadecimal digits", shown, kind, digits)
		}
		return ""
	}
	if kind == "remote_address" {
		if addr, err := netip.ParseAddr(value); err != nil || addr.Zone() != "" {
			return fmt.Sprintf("%q is no address: expected one such as 203.0.113.7", shown)
		}
		return ""
	}
	odd := func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if value == "" || len(value) > 253 || strings.ContainsFunc(value, odd) || !strings.Contains(strings.Trim(value, "."), ".") {
		return fmt.Sprintf("%q is no name of a domain: expected one such as bad.example.com, in the form of the DNS", shown)
	}
	return ""
}

// listName is the name of a list of indicators as the server keeps it.
func listName(a *arguments, name string) {
	if a.known("list") && name != "" && (strings.TrimSpace(name) != name || len(name) > 200 || strings.ContainsFunc(name, soar.IsHidden)) {
		a.refuse("list", "", "a name has at most 200 characters, all of them visible, and no blanks at its ends")
	}
}

// indicatorError puts the error of a read or a change of the set into words.
func indicatorError(err error) error {
	if bad, ok := errors.AsType[*connector.MalformedError](err); ok {
		return fmt.Errorf("the indicators on the server cannot be read as a whole, and what cannot be read would be lost: nothing is changed; "+
			"put that right in the server's console first: %s", bad.Reason)
	}
	return err
}

// indicators reads the set.
func (d *Deps) indicators(ctx context.Context) (map[string]connector.IOC, error) {
	set, err := d.Client.IOCs.Get(ctx)
	if _, bad := errors.AsType[*connector.MalformedError](err); bad {
		return set, indicatorError(err)
	}
	if err != nil {
		return set, fmt.Errorf("indicators: %w", readError(err))
	}
	return set, nil
}

// plainIndicator is what two indicators have in common that are the same. Case and blanks
// at the ends say nothing: no type of indicator heeds them.
func plainIndicator(value string) string { return strings.ToLower(strings.TrimSpace(value)) }

func plainIndicators(values []string) map[string]bool {
	plain := make(map[string]bool, len(values))
	for _, value := range values {
		plain[plainIndicator(value)] = true
	}
	return plain
}

// lackingIndicators are the indicators that a list does not have, each once.
func lackingIndicators(values, list []string) (lacking []string) {
	there := plainIndicators(list)
	for _, value := range values {
		if plain := plainIndicator(value); !there[plain] {
			there[plain] = true
			lacking = append(lacking, strings.TrimSpace(value))
		}
	}
	return lacking
}

// without are the values of a list that are not among others, each once.
func without(values, others []string) []string { return pick(values, others, false) }

// among are the values that are among others, each once.
func among(values, others []string) []string { return pick(values, others, true) }

func pick(values, others []string, there bool) (picked []string) {
	known, seen := make(map[string]bool, len(others)), make(map[string]bool, len(values))
	for _, v := range others {
		known[v] = true
	}
	for _, v := range values {
		if v = strings.TrimSpace(v); known[v] == there && !seen[v] {
			seen[v] = true
			picked = append(picked, v)
		}
	}
	return picked
}
