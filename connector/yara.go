package connector

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// YARAService is the section "YARA" of the REST guide: files of YARA rules for
// agents. Names are lower case on the server; the methods take any case.
type YARAService struct{ c *Client }

// YARAFiles are the names of the files on the server.
type YARAFiles struct {
	// All are the files, sorted. In release 4.0 a file of which no platform is told is
	// not listed by the server.
	All []string
	// ByPlatform are the files of windows, linux and darwin; nil before release 4.0,
	// where every file is for all hosts.
	ByPlatform map[string][]string
}

// yaraPlatforms are the ones that files can be for.
var yaraPlatforms = []string{"windows", "linux", "darwin"}

// List lists the files.
// API: GET /yara (REST guide 4.0.0, "List YARA files"); release 2.1.2 answers with a
// list of names.
func (s *YARAService) List(ctx context.Context) (files YARAFiles, err error) {
	odd := false
	err = s.c.do(ctx, callYaraList, nil, data(func(v value) {
		odd = !v.isArray() && !v.isObject()
		if !v.isArray() {
			files.ByPlatform = make(map[string][]string)
		}
		files.All = v.texts()
		for platform, names := range v.fields() {
			files.ByPlatform[platform] = names.texts()
			files.All = append(files.All, names.texts()...)
		}
		slices.Sort(files.All)
		files.All = slices.Compact(files.All)
	}))
	if err == nil && odd {
		err = lacking(callYaraList, "the answer is neither a list nor an object of platforms")
	}
	if err != nil {
		return YARAFiles{}, err
	}
	return files, nil
}

// Add uploads a file of YARA rules for hosts of one or more platforms: windows,
// linux, darwin. The name ends in .yar or .yara and is stored in lower case. A file
// of that name is ErrRefused. Release 2.1.2 ignores the platforms.
// API: POST /yara/add (REST guide 4.0.0, "Upload a YARA file").
func (s *YARAService) Add(ctx context.Context, file Upload, platforms ...string) error {
	name, err := yaraName(file.Name)
	if err != nil {
		return err
	}
	fields, err := platformList(platforms)
	if err != nil {
		return err
	}
	file.Name = name
	in, err := multipartBody(file, fields)
	if err != nil {
		return err
	}
	return s.c.do(ctx, callYaraAdd, in, nil)
}

// View fetches the text of a file. ErrNotFound if there is none.
// API: POST /yara/view (REST guide 4.0.0, "View YARA file content").
func (s *YARAService) View(ctx context.Context, name string) (text string, err error) {
	if name, err = yaraName(name); err != nil {
		return "", err
	}
	isText := false
	err = s.c.do(ctx, callYaraView, map[string]any{"file_name": name}, data(func(v value) { text, isText = v.v.(string) }))
	if err == nil && !isText {
		err = missing(callYaraView)
	}
	return text, err
}

// Update gives a file to further platforms. It never takes one away: Delete does.
// API: PUT /yara/update (REST guide 4.0.0, "Update a YARA file"), release 4.0.
func (s *YARAService) Update(ctx context.Context, name string, platforms ...string) error {
	name, err := yaraName(name)
	if err != nil {
		return err
	}
	fields, err := platformList(platforms)
	if err != nil {
		return err
	}
	return s.c.do(ctx, callYaraUpdate, map[string]any{"file_name": name, "platform": fields["platform"]}, nil)
}

// Delete takes a file away from platforms, and deletes it when none has it any
// more. Release 2.1.2 ignores the platforms and deletes at once. It needs the
// consent DeleteForGood, and the admin role in release 4.0.
// API: POST /yara/delete (REST guide 4.0.0, "Delete a YARA file").
func (s *YARAService) Delete(ctx context.Context, name string, consent Consent, platforms ...string) error {
	if err := consent.must(DeleteForGood, "delete a YARA file"); err != nil {
		return err
	}
	name, err := yaraName(name)
	if err != nil {
		return err
	}
	fields, err := platformList(platforms)
	if err != nil {
		return err
	}
	return s.c.do(ctx, callYaraDelete, map[string]any{"file_name": name, "platform": fields["platform"]}, nil)
}

// yaraName is a name as the server stores it. It finds a file by any spelling when
// it shows it, and by the exact name when it maps or deletes it.
func yaraName(name string) (string, error) {
	lower := strings.ToLower(name)
	suffix := path.Ext(lower)
	if suffix != ".yar" && suffix != ".yara" || lower == suffix || strings.ContainsAny(lower, "/\\\x00\r\n\"") {
		return "", fmt.Errorf("YARA file %q: %w: expected a name that ends in .yar or .yara, without a path", clip(name, 80), ErrInvalid)
	}
	return lower, nil
}

// platformList writes platforms as a comma list.
func platformList(names []string) (map[string]string, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("platform: %w: at least one of %s", ErrInvalid, strings.Join(yaraPlatforms, ", "))
	}
	for _, name := range names {
		if !slices.Contains(yaraPlatforms, name) {
			return nil, fmt.Errorf("platform %q: %w: none of %s", clip(name, 40), ErrInvalid, strings.Join(yaraPlatforms, ", "))
		}
	}
	return map[string]string{"platform": strings.Join(names, ",")}, nil
}
