package connector

import (
	"context"
	"fmt"
	"strings"
)

// Tags fetches all tags. The older releases tell the names alone.
// API v0: GET /tags/ (guide of API v0, "Get all Tags").
func (s *V0Service) Tags(ctx context.Context) (Page[Tag], error) {
	return v0Page(ctx, s, callV0Tags, nil, func(v value) (Tag, error) {
		if name, ok := v.v.(string); ok && name != "" {
			return Tag{Name: name}, nil
		}
		return tagRow(v)
	})
}

// AddTags makes tags, which may be there already.
// API v0: POST /tags/add (guide of API v0, "Add Tags").
func (s *V0Service) AddTags(ctx context.Context, tags ...string) error {
	in, err := someTags(tags)
	if err != nil {
		return err
	}
	return s.c.do(ctx, callV0TagsAdd, in, nil)
}

// tidyTags makes the tags of a host, query or pack texts. They are objects in some
// releases.
func tidyTags(v value) value {
	if !v.isObject() {
		return v
	}
	tags := []any{}
	for _, tag := range tagNames(v.at("tags")) {
		tags = append(tags, tag)
	}
	return altered(v, map[string]any{"tags": tags})
}

// tagNames reads tags: texts, or objects with the text under value.
func tagNames(v value) (names []string) {
	if !v.isArray() {
		return v.texts()
	}
	for item := range v.items() {
		if name := first(item.at("value", "name"), item); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// TagEdit are tags to add and to remove. A tag in both is removed.
type TagEdit struct{ Add, Remove []string }

// arguments are the two comma lists. Both are sent, because the server breaks
// where one is missing.
func (e TagEdit) arguments() (map[string]any, error) {
	if len(e.Add)+len(e.Remove) == 0 {
		return nil, fmt.Errorf("edit tags: %w: no tag to add or to remove", ErrInvalid)
	}
	in := map[string]any{}
	for key, tags := range map[string][]string{"add_tags": e.Add, "remove_tags": e.Remove} {
		list, err := tagList(tags)
		if err != nil {
			return nil, err
		}
		in[key] = list
	}
	return in, nil
}

// tagList joins tags as API v0 wants them.
func tagList(tags []string) (string, error) {
	for _, tag := range tags {
		if err := CheckTag(tag); err != nil {
			return "", err
		}
	}
	return strings.Join(tags, ","), nil
}

// someTags is tagList where there must be a tag.
func someTags(tags []string) (map[string]any, error) {
	if len(tags) == 0 {
		return nil, fmt.Errorf("add tags: %w: no tag to add", ErrInvalid)
	}
	list, err := tagList(tags)
	return map[string]any{"tags": list}, err
}

func (s *V0Service) tags(ctx context.Context, k call, part string) (tags []string, err error) {
	if k, err = k.with(part); err != nil {
		return nil, err
	}
	odd := false
	err = s.c.do(ctx, k, nil, data(func(v value) {
		tags = tagNames(v)
		_, isText := v.v.(string)
		odd = v.raw() != nil && !v.isArray() && !isText
	}))
	if err == nil && odd {
		err = lacking(k, noList)
	}
	return tags, err
}

func (s *V0Service) addTags(ctx context.Context, k call, part string, tags []string) error {
	in, err := someTags(tags)
	if err != nil {
		return err
	}
	if k, err = k.with(part); err != nil {
		return err
	}
	return s.c.do(ctx, k, in, nil)
}
