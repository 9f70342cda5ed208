package connector

import (
	"fmt"
	"slices"
	"strings"
)

// inSet refuses a value that is none of those that the server knows. The zero value
// is an argument that is left out.
func inSet[T ~string | ~int](call, argument string, value T, allowed ...T) error {
	var zero T
	if value == zero || slices.Contains(allowed, value) {
		return nil
	}
	words := make([]string, 0, len(allowed))
	for _, one := range allowed {
		words = append(words, fmt.Sprint(one))
	}
	return fmt.Errorf("%s: %w: %s %q is none of %s", call, ErrInvalid, argument, clip(fmt.Sprint(value), 80), strings.Join(words, ", "))
}

// allInSet is inSet for a comma list.
func allInSet[T ~string](call, argument, list string, allowed ...T) error {
	if list == "" {
		return nil
	}
	for word := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(word) == "" {
			return fmt.Errorf("%s: %w: %s %q holds an empty word", call, ErrInvalid, argument, clip(list, 80))
		}
		if err := inSet(call, argument, T(strings.TrimSpace(word)), allowed...); err != nil {
			return err
		}
	}
	return nil
}

// paging writes which page is wanted. A negative start is a crash of the server.
func paging(in map[string]any, call string, start, limit int) error {
	in["start"], in["limit"] = start, pageSize(limit)
	return fromStart(call, start)
}

func fromStart[T int | int64](call string, start T) error {
	if start < 0 {
		return fmt.Errorf("%s: %w: start is %d", call, ErrInvalid, start)
	}
	return nil
}

// commaList joins the targets of a call as the server wants them. An empty list,
// and an empty or composite element, are refused: they would address other hosts
// than those meant.
func commaList(what string, list []string) (string, error) {
	if len(list) == 0 {
		return "", fmt.Errorf("%s: %w", what, ErrEmptyTarget)
	}
	for _, one := range list {
		if strings.TrimSpace(one) == "" {
			return "", fmt.Errorf("%s: %w: a name in the list is empty", what, ErrEmptyTarget)
		}
		if strings.Contains(one, ",") {
			return "", fmt.Errorf("%s: %w: %q holds a comma", what, ErrInvalid, clip(one, 128))
		}
	}
	unique := slices.Clone(list)
	slices.Sort(unique)
	return strings.Join(slices.Compact(unique), ","), nil
}
