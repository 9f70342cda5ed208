package ersim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// v0Table lists the calls of API v0. Releases 2.1.2 and 3.5 still serve most of
// them, and release 4.0 none. Its collections end in a slash.
//
// Sources: the guide of API v0 and the vendor's older documents, the public source
// of release 2.1.2, and what that release was observed to answer. Where documents
// and source differ, the profile 2.0 follows the documents and 2.1.2 the source.
func (s *Server) v0Table() []route {
	return slices.Concat(s.v0AccountTable(), s.v0ConfigTable(), s.v0ResultTable(), s.v0SearchTable(), s.v0NodeTable(), s.v0QueryTable(),
		s.v0RuleTable(), s.v0AlertTable(), s.v0LiveTable(), s.v0ResponseTable(), s.v0SettingTable())
}

// older reports that the release knows API v0 only, and is what the older
// documents describe.
func (s *Server) older() bool { return s.profile.base == "" }

// redirect is the framework's answer where a slash is all that a path lacks. Code
// 308 keeps method and body; that is what Werkzeug 0.15 of release 2.1.2 sends.
func redirect(path string) answer {
	return answer{
		status: http.StatusPermanentRedirect, contentType: typeHTML,
		stream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			to := "https://" + r.Host + path
			if r.URL.RawQuery != "" {
				to += "?" + r.URL.RawQuery
			}
			w.Header().Set("Content-Type", typeHTML)
			http.Redirect(w, r, to, http.StatusPermanentRedirect)
		}),
	}
}

const v0Nothing = "There are no data to be shown and it is empty"

// v0OK is a success. Unlike most of v1 it keeps data that is empty, except null.
func (s *Server) v0OK(message string, data any) answer {
	out := obj{"status": "success", "message": message}
	if data != nil {
		out["data"] = data
	}
	return jsonAnswer(http.StatusOK, out)
}

// v0Row leaves out the keys without a value, as the marshaller of release 2.1.2
// does where it is told to.
func (s *Server) v0Row(row obj) obj {
	if s.older() {
		return row
	}
	for key, value := range row {
		if value == nil {
			delete(row, key)
		}
	}
	return row
}

// words are the parts of a comma list. The older documents send JSON arrays; of
// one release 2.1.2 takes the first element only.
func (s *Server) words(c *call, name string) []string {
	if !s.older() {
		return c.list(name)
	}
	var parts []string
	for _, text := range c.array(name) {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// editTags reads the two lists of the calls that add and remove tags at once.
// Release 2.1.2 breaks when one of them is missing.
func (s *Server) editTags(c *call) (add, remove []string, refusal *answer) {
	if !s.older() && (!c.present("add_tags") || !c.present("remove_tags")) {
		return nil, nil, refuse(s.crash())
	}
	return s.words(c, "add_tags"), s.words(c, "remove_tags"), nil
}

// retag is a list of tags after additions and removals.
func retag(tags, add, remove []string) []string {
	for _, tag := range add {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return slices.DeleteFunc(tags, func(tag string) bool { return slices.Contains(remove, tag) })
}

// pathID is a number of the path; one that is out of range is 0, which no row has.
func (c *call) pathID(name string) int64 {
	id, err := strconv.ParseInt(c.path[name], 10, 64)
	if err != nil {
		return 0
	}
	return id
}
