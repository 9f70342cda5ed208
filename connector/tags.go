package connector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// TagsService is the section "Tags" of the REST guide.
type TagsService struct{ c *Client }

// Tag is a tag with what carries it.
type Tag struct {
	Name    string
	Hosts   []string // identifiers of active hosts
	Packs   []string // names
	Queries []string // names
	// FilePaths are no longer told by release 4.0.
	FilePaths []string
}

func tagRow(v value) (Tag, error) {
	t := Tag{
		Name: v.at("value").text(), Hosts: v.at("nodes").texts(), Packs: v.at("packs").texts(), Queries: v.at("queries").texts(),
		FilePaths: v.at("file_paths").texts(),
	}
	switch {
	case !v.isObject():
		return t, errNotObject
	case t.Name == "":
		return t, errors.New("tag without a name")
	}
	return t, nil
}

// TagQuery filters and sorts the list of tags.
type TagQuery struct {
	Search string // part of the name, without regard to case
	// Order is asc or desc, by name; empty is the newest first. Servers of release 2.x
	// know the latter only.
	Order string
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of tags.
//
// API: GET /tags (REST guide 4.0.0, section Tags).
func (s *TagsService) Page(ctx context.Context, q TagQuery) (page Page[Tag], err error) {
	const what = "list tags"
	in := map[string]any{}
	if err := errors.Join(
		inSet(what, "order", q.Order, "asc", "desc"),
		noNUL(what, "search text", q.Search),
		paging(in, what, q.Start, q.Limit),
	); err != nil {
		return page, err
	}
	k := callTagsList.asking(map[string]string{
		"start": strconv.Itoa(q.Start), "limit": strconv.Itoa(pageSize(q.Limit)), "searchterm": q.Search, "order_by": q.Order,
	})
	return paged(ctx, s.c, k, nil, tagRow)
}

// List walks through all tags from q.Start on, q.Limit at a time.
func (s *TagsService) List(ctx context.Context, q TagQuery) iter.Seq2[Tag, error] {
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[Tag], error) {
		return s.Page(ctx, q)
	}, func(t *Tag) string { return t.Name })
}

// Add makes a tag that nothing carries yet; see CheckTag for what it may be called.
// One that exists is ErrRefused. It needs the admin role in release 4.0.
//
// API: POST /tags/add (REST guide 4.0.0, section Tags).
func (s *TagsService) Add(ctx context.Context, tag string) error {
	if err := CheckTag(tag); err != nil {
		return err
	}
	return s.c.do(ctx, callTagsAdd, map[string]any{"tag": tag}, nil)
}

// Delete deletes a tag and takes it off everything, so that hosts lose what they had
// through it; consent must be DeleteForGood. One that does not exist is
// ErrRefused in release 4.0, and no error before. It needs the admin role in release
// 4.0, which also takes a list of tags; it would stop in the middle at the first
// unknown one, and older releases would take the list for one name.
//
// API: POST /tags/delete (REST guide 4.0.0, section Tags).
func (s *TagsService) Delete(ctx context.Context, tag string, consent Consent) error {
	const what = "delete a tag"
	if err := consent.must(DeleteForGood, what); err != nil {
		return err
	}
	// Names that only old releases take must be deletable too.
	if tag == "" || strings.Contains(tag, ",") {
		return fmt.Errorf("%s: %w: %q is empty or a list", what, ErrInvalid, clip(tag, 80))
	}
	if err := noNUL(what, "tag", tag); err != nil {
		return err
	}
	return s.c.do(ctx, callTagsDelete, map[string]any{"tag": tag}, nil)
}

// Tagged is what carries one of some tags.
type Tagged struct {
	// Hosts are active hosts, without the count of alerts.
	Hosts   []Host
	Packs   []TaggedObject
	Queries []TaggedObject
	// Malformed are the rows that could not be read. The others are unharmed.
	Malformed []*MalformedError
}

// TaggedObject is a pack or a query.
type TaggedObject struct {
	ID   int64
	Name string
	Tags []string
}

func taggedRow(v value) (TaggedObject, error) {
	o := TaggedObject{ID: v.at("id").id(), Name: v.at("name").text(), Tags: v.at("tags").texts()}
	switch {
	case !v.isObject():
		return o, errNotObject
	case o.Name == "":
		return o, errors.New("object without a name")
	}
	return o, nil
}

// Tagged fetches what carries at least one of some tags. This is also how hosts are
// found by tag: the list of hosts cannot be filtered so. Unknown tags are passed over;
// if all are, it is ErrNotFound.
//
// API: POST /tags/tagged (REST guide 4.0.0, section Tags).
func (s *TagsService) Tagged(ctx context.Context, tags ...string) (t Tagged, err error) {
	joined, err := commaList("tagged", tags)
	if err != nil {
		return t, err
	}
	if err := noNUL("tagged", "tags", joined); err != nil {
		return t, err
	}
	told := false
	err = s.c.do(ctx, callTagsTagged, map[string]any{"tags": joined}, data(func(v value) {
		told = v.isObject()
		hosts, packs, queries := rows(v.at("hosts"), hostRow), rows(v.at("packs"), taggedRow), rows(v.at("queries"), taggedRow)
		t = Tagged{
			Hosts: hosts.Results, Packs: packs.Results, Queries: queries.Results,
			Malformed: slices.Concat(hosts.Malformed, packs.Malformed, queries.Malformed),
		}
	}))
	if err == nil && !told {
		err = missing(callTagsTagged)
	}
	return t, err
}

// TagTargets is what a tag is given to.
type TagTargets struct {
	Hosts   []string // identifiers
	Systems []string // every host with one of these operating systems, by os_info.name
	Packs   []string // names
	Queries []string // names
}

// Assign gives a tag, which must exist, to hosts, packs and queries. What does not
// exist is passed over without a word, unless that is all: ErrRefused. Tagged tells
// what carries the tag. It needs the admin role.
//
// API: PUT /tags/{tag_name} (REST guide 4.0.0, section Tags), since release 3.5.
func (s *TagsService) Assign(ctx context.Context, tag string, to TagTargets) error {
	const what = "assign a tag"
	if err := CheckTag(tag); err != nil {
		return err
	}
	if at := strings.LastIndexByte(tag, '.'); at >= 0 && slices.Contains(servedSuffixes, strings.ToLower(tag[at+1:])) {
		return fmt.Errorf("%s: %w: %q ends like a file of the web console, which the server's proxy keeps to itself", what, ErrInvalid, tag)
	}
	k, err := callTagsAssign.with(tag)
	if err != nil {
		return err
	}
	in := map[string]any{}
	for name, list := range map[string][]string{"hosts": to.Hosts, "os_names": to.Systems, "packs": to.Packs, "queries": to.Queries} {
		for _, one := range list {
			if one == "" || strings.ContainsRune(one, 0) {
				return fmt.Errorf("%s: %w: %q among %s", what, ErrInvalid, clip(one, 80), name)
			}
		}
		if len(list) > 0 {
			in[name] = list
		}
	}
	if len(in) == 0 {
		return fmt.Errorf("%s: %w", what, ErrEmptyTarget)
	}
	return s.c.do(ctx, k, in, nil)
}

// servedSuffixes are endings of paths that the proxy before the server answers itself
// (public configuration of release 4.0).
var servedSuffixes = []string{"js", "css", "svg", "png", "jpg", "jpeg", "gif", "woff", "woff2", "ttf", "eot"}
