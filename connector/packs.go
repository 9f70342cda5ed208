package connector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// PacksService is the section "Packs" of the REST guide: sets of scheduled queries.
// Agents whose host has a tag of the pack run its queries.
type PacksService struct{ c *Client }

// Pack is a named set of scheduled queries.
type Pack struct {
	ID          int64
	Name        string
	Platform    string // windows, linux or darwin; empty for all
	Version     string
	Description string
	// Category is Intrusion Detection, Monitoring, Compliance and Management,
	// Forensics and Incident Response, General or Others.
	Category string
	Shard    *int // percentage of the hosts; nil for all
	Tags     []string
	// Queries are whole; list only. Names are those of the queries, from either call.
	Queries []ScheduledQuery
	Names   []string
}

func readPack(v value) Pack {
	p := Pack{
		ID:          v.at("id").id(),
		Name:        v.at("name").text(),
		Platform:    v.at("platform").text(),
		Version:     v.at("version").text(),
		Description: v.at("description").text(),
		Category:    v.at("category").text(),
		Shard:       v.at("shard").optional(),
		Tags:        v.at("tags").elements(),
	}
	for one := range v.at("queries").items() {
		if one.isObject() {
			q := readScheduled(one)
			p.Queries = append(p.Queries, q)
			p.Names = append(p.Names, q.Name)
		} else if name := one.text(); name != "" {
			p.Names = append(p.Names, name)
		}
	}
	return p
}

func packRow(v value) (Pack, error) {
	p := readPack(v)
	return p, needID(v, p.ID, "pack")
}

// PackQuery filters packs.
type PackQuery struct {
	// Search is a part of name, platform, version, description, category or shard, in
	// any case; % and _ stand for any text and any character.
	Search string
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of packs with their queries, by name; release 2.1.2 has the
// newest first.
// API: POST /packs (REST guide 4.0.0, "Get a list of all packs").
func (s *PacksService) Page(ctx context.Context, q PackQuery) (page Page[Pack], err error) {
	in := make(map[string]any)
	if err := paging(in, "list packs", q.Start, q.Limit); err != nil {
		return page, err
	}
	set(in, "searchterm", q.Search)
	return paged(ctx, s.c, callPacksList, in, packRow)
}

// List walks through all packs from q.Start on, q.Limit at a time.
func (s *PacksService) List(ctx context.Context, q PackQuery) iter.Seq2[Pack, error] {
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[Pack], error) {
		return s.Page(ctx, q)
	}, func(p *Pack) string { return idKey(p.ID) })
}

// named finds a pack by its name; ErrNotFound if there is none.
func (s *PacksService) named(ctx context.Context, name string) (Pack, error) {
	search := name
	if strings.Contains(name, `\`) {
		search = "" // it would escape the character behind it
	}
	for p, err := range s.List(ctx, PackQuery{Search: search}) {
		if _, malformed := errors.AsType[*MalformedError](err); malformed {
			continue
		}
		if err != nil || p.Name == name {
			return p, err
		}
	}
	k := callPacksList
	return Pack{}, &APIError{Method: k.method, Path: k.path, Status: 200, Message: "the list has no such pack", kinds: []error{ErrNotFound}}
}

// Get fetches one pack with the names of its queries. ErrNotFound if there is none.
// API: GET /packs/{pack_id} (REST guide 4.0.0, "Get a pack").
func (s *PacksService) Get(ctx context.Context, id int64) (p Pack, err error) {
	k, err := callPacksGet.withID(id)
	if err != nil {
		return Pack{}, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { p = readPack(v) }))
	if err == nil && p.ID == 0 {
		err = missing(k)
	}
	if err != nil {
		return Pack{}, err
	}
	return p, nil
}

// Tags fetches the tags of a pack, by id or name; a name of digits only is read as an
// id. ErrNotFound if there is none.
// API: GET /packs/{pack_id}/tags (REST guide 4.0.0, "Get tags for a pack").
func (s *PacksService) Tags(ctx context.Context, ref string) (tags []string, err error) {
	k, err := callPacksTagsList.with(ref)
	if err != nil {
		return nil, err
	}
	return s.c.tags(ctx, k)
}

// AddTag tags a pack, by id or name, which may have the tag already: hosts with the
// tag run its queries from then on. It needs the admin role in release 4.0.
// API: POST /packs/{pack_id}/tags (REST guide 4.0.0, "Assign tags to a pack").
func (s *PacksService) AddTag(ctx context.Context, ref, tag string) error {
	k, err := callPacksTagsAdd.with(ref)
	if err != nil {
		return err
	}
	return s.c.tag(ctx, k, tag)
}

// RemoveTag takes a tag off a pack, by id or name. A tag that it does not have is
// ErrRefused. It needs the admin role in release 4.0.
// API: DELETE /packs/{pack_id}/tags (REST guide 4.0.0, "Remove a tag from a pack").
func (s *PacksService) RemoveTag(ctx context.Context, ref, tag string) error {
	k, err := callPacksTagsRemove.with(ref)
	if err != nil {
		return err
	}
	return s.c.tag(ctx, k, tag)
}

// Delete removes a pack, by id or name; a name of digits only is read as an id, and one
// with a slash is not found: ErrInvalid. Its queries stay. An unknown pack is
// ErrRefused. It needs the consent DeleteForGood, and the admin role in release 4.0.
// API: DELETE /packs/{pack_id}/delete (REST guide 4.0.0, "Delete a pack").
func (s *PacksService) Delete(ctx context.Context, ref string, consent Consent) error {
	if err := consent.must(DeleteForGood, "delete pack"); err != nil {
		return err
	}
	k, err := callPacksDelete.with(ref)
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, nil, nil)
}

var (
	packCategories = []string{
		"Intrusion Detection", "Monitoring", "Compliance and Management", "Forensics and Incident Response", "General", "Others",
	}
	packPlatforms = []string{"windows", "linux", "darwin"}
)

// NewPack is a pack to add.
type NewPack struct {
	Name        string
	Platform    string // windows, linux or darwin; empty for all
	Version     string
	Description string
	// Category is one of those that Pack.Category names; empty is General.
	Category string
	Shard    int // percentage of the hosts, 1 to 100; 0 for all
	Tags     []string
	// Queries need name, SQL and interval. Their tags, packs and ids are not sent.
	Queries []ScheduledQuery
}

// AddedPack is what became of a pack that was sent, by reading it afterwards.
type AddedPack struct {
	ID int64
	// Missing names queries that the pack does not have: the server leaves out those
	// whose SQL it does not understand.
	Missing []string
	// Kept names queries that the pack had before and has with another SQL: the server
	// does not touch them.
	Kept []string
}

// Complete reports whether the pack has every query as it was sent.
func (a AddedPack) Complete() bool { return len(a.Missing) == 0 && len(a.Kept) == 0 }

// Add adds a pack. A pack of that name is changed in place, which the server calls a
// success, too: its version, description, platform, category and shard become those
// of p, its tags if p has some, and queries are added that it does not have. The
// pack is read afterwards: look at AddedPack.Complete. If it cannot be read the
// error is ErrUncertain, beside the id. It needs the admin role in release 4.0.
// API: POST /packs/add (REST guide 4.0.0, "Add a pack using a JSON payload").
func (s *PacksService) Add(ctx context.Context, p NewPack) (AddedPack, error) {
	in, err := p.in()
	if err != nil {
		return AddedPack{}, err
	}
	if len(p.Tags) == 0 {
		// Release 2.1.2 breaks when tags are missing (public source), 4.0 refuses empty ones.
		index, err := s.c.Index(ctx)
		if err != nil {
			return AddedPack{}, before(callPacksAdd, err)
		}
		if index.Before35 {
			in["tags"] = ""
		}
	}
	sent := make(map[string]string, len(p.Queries))
	for _, q := range p.Queries {
		sent[q.Name] = q.SQL
	}
	return s.send(ctx, callPacksAdd, in, sent)
}

// in is what the server is sent.
func (p NewPack) in() (map[string]any, error) {
	const call = "add pack"
	if err := errors.Join(plainName(call, p.Name), inSet(call, "platform", p.Platform, packPlatforms...),
		inSet(call, "category", p.Category, packCategories...)); err != nil {
		return nil, err
	}
	if p.Shard < 0 || p.Shard > 100 {
		return nil, fmt.Errorf("%s: %w: shard %d is not a percentage", call, ErrInvalid, p.Shard)
	}
	queries := make(map[string]any, len(p.Queries))
	for _, q := range p.Queries {
		if _, twice := queries[q.Name]; twice {
			return nil, fmt.Errorf("%s: %w: query %q stands twice", call, ErrInvalid, clip(q.Name, 80))
		}
		one, err := q.inPack(call)
		if err != nil {
			return nil, err
		}
		queries[q.Name] = one
	}
	in := map[string]any{"name": p.Name, "queries": queries}
	set(in, "platform", p.Platform)
	set(in, "version", p.Version)
	set(in, "description", p.Description)
	set(in, "category", p.Category)
	if p.Shard > 0 {
		in["shard"] = p.Shard
	}
	if len(p.Tags) > 0 {
		for _, tag := range p.Tags {
			if err := CheckTag(tag); err != nil {
				return nil, fmt.Errorf("%s: %w", call, err)
			}
		}
		in["tags"] = strings.Join(p.Tags, ",")
	}
	return in, nil
}

// inPack is the query as a part of a pack, where snapshot is a boolean.
func (q ScheduledQuery) inPack(call string) (map[string]any, error) {
	q.Tags, q.Packs = nil, nil
	in, err := q.in(call)
	if err != nil {
		return nil, err
	}
	delete(in, "name")
	in["snapshot"] = q.Snapshot
	if q.Shard != nil {
		in["shard"] = *q.Shard
	}
	return in, nil
}

// Upload adds a pack from a file in osquery's format: a JSON object with queries by
// name, and perhaps platform, version, shard and tags, a comma list. The pack's name
// is the file's, in lower case, up to the first dot. Category is as in NewPack. A pack
// of that name is changed in place and the pack is read afterwards, as with Add. It
// needs the admin role in release 4.0.
// API: POST /packs/upload (REST guide 4.0.0, "Add a pack using a file").
func (s *PacksService) Upload(ctx context.Context, file Upload, category string) (AddedPack, error) {
	const call = "upload pack"
	if err := inSet(call, "category", category, packCategories...); err != nil {
		return AddedPack{}, err
	}
	if name, _, _ := strings.Cut(file.Name, "."); strings.TrimSpace(name) == "" {
		return AddedPack{}, fmt.Errorf("%s: %w: file %q would give a pack without a name", call, ErrInvalid, clip(file.Name, 80))
	}
	sent, err := packFile(file.Content)
	if err != nil {
		return AddedPack{}, fmt.Errorf("%s %q: %w: %w", call, clip(file.Name, 80), ErrInvalid, err)
	}
	in, err := multipartBody(file, map[string]string{"category": category})
	if err != nil {
		return AddedPack{}, err
	}
	return s.send(ctx, callPacksUpload, in, sent)
}

// packFile reads the SQL of the queries of a pack file, by name.
func packFile(content []byte) (map[string]string, error) {
	v, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	queries := v.at("queries")
	if !queries.isObject() {
		return nil, errors.New("it has no queries")
	}
	sent := make(map[string]string)
	for name, query := range queries.fields() {
		sql, isText := query.at("query").v.(string)
		if !isText {
			return nil, fmt.Errorf("query %q has no SQL", clip(name, 80))
		}
		sent[name] = sql
	}
	return sent, nil
}

// send makes a call that adds a pack, and reads what became of it.
func (s *PacksService) send(ctx context.Context, k call, in any, sent map[string]string) (a AddedPack, err error) {
	err = s.c.do(ctx, k, in, func(v value) { a.ID = v.at("pack_id").id() })
	if err == nil && a.ID == 0 {
		err = lacking(k, "the answer holds no id")
	}
	if err != nil {
		return AddedPack{}, err
	}
	have, err := s.queriesOf(ctx, a.ID)
	if err != nil {
		return a, unread(fmt.Sprintf("pack %d", a.ID), nil, err)
	}
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		switch sql, ok := have[name]; {
		case !ok:
			a.Missing = append(a.Missing, name)
		case sql != sent[name]:
			a.Kept = append(a.Kept, name)
		}
	}
	return a, nil
}

// queriesOf reads the SQL of the queries of a pack, by name. Only the list tells it.
func (s *PacksService) queriesOf(ctx context.Context, id int64) (map[string]string, error) {
	p, err := s.Get(ctx, id)
	if err == nil {
		p, err = s.named(ctx, p.Name)
	}
	if err != nil {
		return nil, err
	}
	have := make(map[string]string, len(p.Queries))
	for _, q := range p.Queries {
		have[q.Name] = q.SQL
	}
	return have, nil
}
