package ersim

import (
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
)

// yaraState is the state behind the section YARA.
type yaraState struct {
	files map[string]string // content by name, which is in lower case
	// platforms are the names that each platform has (release 4.0). They are kept apart
	// from the files, and not always in step with them.
	platforms map[string][]string
}

// yaraTable lists the calls around the section YARA.
func (s *Server) yaraTable() []route {
	return []route{
		{"yara-list", "GET", "/yara", needToken, s.yaraList, nil},
		{"yara-add", "POST", "/yara/add", needToken, s.yaraAdd, nil},
		{"yara-view", "POST", "/yara/view", needToken, s.yaraView, nil},
		{"yara-update", "PUT", "/yara/update", needToken | only4, s.yaraUpdate, nil},
		{"yara-delete", "POST", "/yara/delete", needToken | needAdmin, s.yaraDelete, nil},
	}
}

// buildYara makes the state of a new server.
func (s *Server) buildYara() {
	s.yara = yaraState{files: map[string]string{}, platforms: map[string][]string{}}
}

// yaraPlatforms are the ones that a list always has.
var yaraPlatforms = []string{"windows", "linux", "darwin"}

// lists are the names by platform.
func (y *yaraState) lists() map[string][]string {
	lists := map[string][]string{}
	for _, platform := range append(slices.Collect(maps.Keys(y.platforms)), yaraPlatforms...) {
		lists[platform] = textList(y.platforms[platform])
	}
	return lists
}

// API: GET /yara. Release 2.1.2 has no platforms.
func (s *Server) yaraList(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	const fetched = "Successfully fetched the yara files"
	if s.profile.v4 {
		return s.ok(fetched, s.yara.lists())
	}
	return s.ok(fetched, textList(slices.Sorted(maps.Keys(s.yara.files))))
}

// API: POST /yara/add. The platforms are not checked.
func (s *Server) yaraAdd(c *call) answer {
	c.needFile("Threat file")
	if s.profile.v4 {
		c.need("platform", "platform")
	}
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	name := strings.ToLower(c.name)
	suffix := path.Ext(name)
	if !s.profile.v4 { // what stands behind the first dot counts
		parts := strings.Split(name, ".")
		if len(parts) < 2 {
			return s.crash()
		}
		suffix = "." + parts[1]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, exists := s.yara.files[name]
	switch {
	case suffix != ".yar" && suffix != ".yara":
		return s.fail("Please upload yara(.yara/.yar) files only!")
	case len(c.file) == 0 && s.profile.v4:
		return s.fail("Please upload non empty yara file")
	case exists:
		return s.fail("This file already exists")
	}
	s.yara.files[name] = string(c.file)
	if s.profile.v4 {
		for platform := range strings.SplitSeq(c.text("platform"), ",") {
			s.yara.platforms[platform] = append(s.yara.platforms[platform], name)
		}
	}
	return s.ok("Successfully uploaded the file", nil)
}

// API: POST /yara/view. The name may be written in any case.
func (s *Server) yaraView(c *call) answer {
	c.need("file_name", "name of the yara file to view the content for")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok := s.yara.files[path.Base(strings.ToLower(c.text("file_name")))]
	switch {
	case ok:
		return s.ok("Successfully fetched the yara file content!", content)
	case s.profile.v4:
		return s.fail("file not found")
	}
	return jsonAnswer(http.StatusOK, obj{"status": "failure"}) // release 2.1.2 has no words for it
}

// API: PUT /yara/update. A name in upper case is found as a file and listed as it was
// written, beside the right one.
func (s *Server) yaraUpdate(c *call) answer {
	c.need("file_name", "name of the yara file to view the content for")
	c.need("platform", "platforms")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name, wanted := c.text("file_name"), strings.Split(c.text("platform"), ",")
	if _, ok := s.yara.files[strings.ToLower(name)]; !ok {
		return s.fail("No such file found")
	}
	for _, platform := range yaraPlatforms {
		if slices.Contains(wanted, platform) && !slices.Contains(s.yara.platforms[platform], name) {
			s.yara.platforms[platform] = append(s.yara.platforms[platform], name)
		}
	}
	return s.ok("successfully mapped to platform "+c.text("platform"), s.yara.lists())
}

// API: POST /yara/delete. The name is compared as it is written, in lists and on the
// disk; only whether there is such a file is asked in lower case.
func (s *Server) yaraDelete(c *call) answer {
	c.need("file_name", "name of the yara file to delete")
	if s.profile.v4 {
		c.need("platform", "platform")
	}
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	const (
		deleted = "File with the given file name is deleted successfully"
		missing = "File with the given file name does not exists"
	)
	s.mu.Lock()
	defer s.mu.Unlock()
	name := c.text("file_name")
	if s.profile.v4 {
		wanted := slices.DeleteFunc(strings.Split(c.text("platform"), ","), func(p string) bool { return !slices.Contains(yaraPlatforms, p) })
		if len(wanted) == 0 {
			return plain(http.StatusBadRequest, "please provide valid platforms(windows/linux/darwin)")
		}
		if _, ok := s.yara.files[path.Base(strings.ToLower(name))]; !ok {
			return s.fail("File not found")
		}
		kept := false
		for platform, names := range s.yara.platforms {
			if slices.Contains(wanted, platform) {
				names = slices.DeleteFunc(names, func(other string) bool { return other == name })
				s.yara.platforms[platform] = names
			}
			kept = kept || slices.Contains(names, name)
		}
		if kept {
			return s.ok(deleted, nil)
		}
	}
	if _, ok := s.yara.files[name]; !ok {
		return s.fail(missing)
	}
	delete(s.yara.files, name)
	return s.ok(deleted, nil)
}
