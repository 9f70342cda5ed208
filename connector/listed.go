package connector

import (
	"context"
	"fmt"
	"slices"
)

// paged makes a call that answers with a page of rows. An answer without a list is
// ErrNotJSON.
func paged[T any](ctx context.Context, c *Client, k call, in any, row func(value) (T, error)) (page Page[T], err error) {
	err = c.do(ctx, k, in, data(func(v value) { page = rows(v, row) }))
	if err == nil && page.Results == nil {
		err = lacking(k, noList)
	}
	return page, err
}

const noList = "the answer has no list, not even an empty one"

// listed makes a call whose data is a bare list and reads it. An answer without a
// list is ErrNotJSON. With a row that cannot be read, the error is a
// *MalformedError, and the others are returned all the same.
func listed[T any](ctx context.Context, c *Client, k call, row func(value) (T, error)) ([]T, error) {
	return listedBy(ctx, c, k, nil, row)
}

// listedBy is listed with arguments.
func listedBy[T any](ctx context.Context, c *Client, k call, in any, row func(value) (T, error)) ([]T, error) {
	page, err := paged(ctx, c, k, in, row)
	if err == nil && len(page.Malformed) > 0 {
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
