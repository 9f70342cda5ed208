package connector

import (
	"context"
	"fmt"
	"slices"
)

// listed makes a call whose data is a bare list and reads it. An answer without a
// list is ErrNotJSON. With a row that cannot be read, the error is a
// *MalformedError, and the others are returned all the same.
func listed[T any](ctx context.Context, c *Client, k call, row func(value) (T, error)) ([]T, error) {
	var page Page[T]
	err := c.do(ctx, k, nil, data(func(v value) { page = rows(v, row) }))
	switch {
	case err != nil:
		return nil, err
	case page.Results == nil:
		return nil, lacking(k, "the answer has no list")
	case len(page.Malformed) > 0:
		err = fmt.Errorf("%s %s: %w", k.method, k.path, page.Malformed[0])
	}
	return slices.Clip(page.Results), err
}

// lacking is a success without what it must have. Of an effect it leaves open what
// happened.
func lacking(k call, what string) error {
	kinds := []error{ErrNotJSON}
	if k.effect {
		kinds = append(kinds, ErrUncertain)
	}
	return &APIError{Method: k.method, Path: k.path, Status: 200, Message: what, kinds: kinds}
}
