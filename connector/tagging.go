package connector

import (
	"context"
	"fmt"
)

// What hosts, packs and scheduled queries have in common: tags.

// tags fetches the tags of something.
func (c *Client) tags(ctx context.Context, k call) (tags []string, err error) {
	isList := false
	err = c.do(ctx, k, nil, data(func(v value) { tags, isList = v.elements(), v.isArray() }))
	if err == nil && !isList {
		err = lacking(k, "the answer holds no list of tags")
	}
	return tags, err
}

// tag puts one tag on something, or takes it off.
func (c *Client) tag(ctx context.Context, k call, tag string) error {
	if err := CheckTag(tag); err != nil {
		return err
	}
	return c.do(ctx, k, map[string]any{"tag": tag}, nil)
}

// CheckTag reports what is wrong with a tag: the server takes up to 63 letters,
// digits and any of _ @ . - and answers success to some others without effect.
func CheckTag(tag string) error {
	if tag == "" || len(tag) > 63 {
		return fmt.Errorf("tag %q: %w: 1 to 63 characters", clip(tag, 80), ErrInvalid)
	}
	for i := range len(tag) {
		switch c := tag[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '@', c == '.', c == '-':
		default:
			return fmt.Errorf("tag %q: %w: only letters, digits and _ @ . - are allowed", tag, ErrInvalid)
		}
	}
	return nil
}
