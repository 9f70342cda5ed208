package connector

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Packs fetches all packs. Release 2.1.2 tells the names of their queries alone.
// API v0: GET /packs/ (guide of API v0, "List all Packs").
func (s *V0Service) Packs(ctx context.Context) (Page[Pack], error) {
	return v0Page(ctx, s, callV0Packs, nil, v0PackRow)
}

// v0PackRow reads a pack, of which some releases have the queries by name.
func v0PackRow(v value) (Pack, error) {
	if queries := v.at("queries"); queries.isObject() {
		list := []any{}
		for name, q := range queries.fields() {
			list = append(list, altered(tidyTags(q), map[string]any{"name": name}).v)
		}
		v = altered(v, map[string]any{"queries": list})
	}
	return packRow(tidyTags(v))
}

// Pack fetches one pack. ErrNotFound if there is none.
// API v0: GET /packs/{pack_id} (guide of API v0, "List a Specific Pack").
func (s *V0Service) Pack(ctx context.Context, id int64) (Pack, error) {
	k, err := callV0PacksGet.with(strconv.FormatInt(id, 10))
	if err != nil {
		return Pack{}, err
	}
	return v0One(ctx, s, k, nil, v0PackRow)
}

// AddPack adds a pack and returns its id, 0 if the server does not tell it. A pack of
// that name gets the queries that it lacks, and the server says success.
// API v0: POST /packs/add (guide of API v0, "Define a Pack").
func (s *V0Service) AddPack(ctx context.Context, p NewPack) (id int64, err error) {
	in, err := p.in()
	if err != nil {
		return 0, err
	}
	if in["tags"] == nil {
		in["tags"] = "" // the server breaks without
	}
	return s.addedPack(ctx, callV0PacksAdd, in)
}

func (s *V0Service) addedPack(ctx context.Context, k call, in any) (id int64, err error) {
	err = s.c.do(ctx, k, in, func(answer value) {
		for _, v := range []value{answer.at("pack_id"), answer.at("data")} {
			if id == 0 {
				id = v.id()
			}
		}
	})
	return id, err
}

// UploadPack adds a pack from a JSON file with name, queries and tags; category is
// one of those that Pack.Category names, or empty. It returns what AddPack does.
// API v0: POST /packs/upload (public source of release 2.1.2).
func (s *V0Service) UploadPack(ctx context.Context, file Upload, category string) (id int64, err error) {
	const what = "upload pack"
	if err := inSet(what, "category", category, packCategories...); err != nil {
		return 0, err
	}
	var content map[string]json.RawMessage
	if err := json.Unmarshal(file.Content, &content); err != nil || content["queries"] == nil {
		return 0, fmt.Errorf("%s %q: %w: not a JSON object with queries", what, clip(file.Name, 80), ErrInvalid)
	}
	in, err := multipartBody(file, map[string]string{"category": category})
	if err != nil {
		return 0, err
	}
	return s.addedPack(ctx, callV0PacksUpload, in)
}

// EditPackTags adds and removes tags of a pack.
// API v0: POST /packs/tag/edit (guide of API v0, "Modify Tags on a Pack").
func (s *V0Service) EditPackTags(ctx context.Context, id int64, edit TagEdit) error {
	in, err := edit.arguments()
	if err != nil {
		return err
	}
	in["pack_id"] = id
	return s.c.do(ctx, callV0PacksTagEdit, in, nil)
}

// PackTags fetches the tags of a pack, by its name.
// API v0: GET /packs/{pack_name}/tags (public source of release 2.1.2).
func (s *V0Service) PackTags(ctx context.Context, name string) ([]string, error) {
	return s.tags(ctx, callV0PacksTagsGet, name)
}

// AddPackTags adds tags to a pack, by its name. EditPackTags is better: release 2.1.2
// takes a tag twice here, and breaks on an unknown name.
// API v0: POST /packs/{pack_name}/tags (public source of release 2.1.2).
func (s *V0Service) AddPackTags(ctx context.Context, name string, tags ...string) error {
	if strings.TrimSpace(name) == "" {
		return fmt.Errorf("add pack tags: %w: the pack has no name", ErrInvalid)
	}
	return s.addTags(ctx, callV0PacksTagsAdd, name, tags)
}
