package ersim

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/websocket"
)

// route is one call of the API. A path part of the form {x} takes any text, and
// {x:int} only digits, as the framework's converters do.
type route struct {
	id      string // as in the endpoint catalogue
	method  string
	path    string
	kind    routeKind
	handler func(*call) answer

	parts []string
}

// api is one version of the API: its calls, and what their paths are below.
type api struct {
	base   string
	routes []route
}

// routeKind is a set of conditions under which a route exists and answers.
type routeKind int

const (
	needToken  routeKind = 1 << iota
	needAdmin            // release 4.0 asks for the role; 2.1.2 has no roles
	enterprise           // absent in the community edition
	only4                // absent in release 2.1.2
	only2                // absent in release 4.0
	only20               // absent in release 2.1.2 and later: a call of v0 that was given up
)

// call is one request on its way through a handler.
type call struct {
	*args
	request *http.Request
	route   *route
	path    map[string]string // values of the path's {x} parts
	user    *user
}

// buildAPIs makes the versions of the API that the profile serves. The proxy hands
// everything below services to the application, which answers 404 to the rest.
func (s *Server) buildAPIs() []api {
	var apis []api
	if s.profile.base != "" {
		apis = append(apis, api{s.profile.base, s.prepare(s.table())})
	}
	if s.profile.base0 != "" {
		apis = append(apis, api{s.profile.base0, s.prepare(s.v0Table())})
	}
	if s.profile.v4 { // release 2.1.2 has the files on another port
		apis = append(apis, api{"/downloads", s.prepare(s.downloadTable())})
	}
	services, _, _ := strings.Cut(s.BasePath(), "/api/")
	return append(apis, api{base: services})
}

// prepare splits the paths of the calls, and leaves out those that the profile
// does not have.
func (s *Server) prepare(routes []route) []route {
	for i := range routes {
		routes[i].parts = strings.Split(routes[i].path, "/")
	}
	return slices.DeleteFunc(routes, func(r route) bool {
		return r.kind&enterprise != 0 && !s.profile.enterprise ||
			r.kind&only4 != 0 && !s.profile.v4 || r.kind&only2 != 0 && s.profile.v4 ||
			r.kind&only20 != 0 && s.profile.base != ""
	})
}

// table lists the calls of v1. A literal part stands before a {x} in the same place.
func (s *Server) table() []route {
	const (
		open  = routeKind(0)
		token = needToken
		admin = needToken | needAdmin
		ent   = needToken | enterprise
	)
	routes := []route{
		{"auth-index", "GET", "/index", open | only4, s.index, nil},
		{"auth-login", "POST", "/login", open, s.login, nil},
		{"auth-logout", "POST", "/logout", open, s.logout, nil},

		{"hosts-list", "POST", "/hosts", token, s.hostsList, nil},
		{"hosts-count", "GET", "/hosts/count", token, s.hostsCount, nil},
		{"hosts-get", "GET", "/hosts/{ref}", token, s.hostsGet, nil},
		{"hosts-tags-list", "GET", "/hosts/{ref}/tags", token, s.hostTags, nil},
		{"hosts-tags-add", "POST", "/hosts/{ref}/tags", admin, s.hostTagAdd, nil},
		{"hosts-tags-remove", "DELETE", "/hosts/{ref}/tags", admin, s.hostTagRemove, nil},

		{"alerts-count-by-source", "GET", "/alerts/count_by_source", token, s.alertsCountBySource, nil},
		{"alerts-list", "POST", "/alerts", token, s.alertsList, nil},
		{"alerts-update", "PUT", "/alerts", token, s.alertsUpdate, nil},
		{"alerts-process", "POST", "/alerts/process", ent, s.processTree, nil},
		{"alerts-process-child", "POST", "/alerts/process/child", ent, s.processChildren, nil},
		{"alerts-get", "GET", "/alerts/{id:int}", token, s.alertsGet, nil},
		{"alerts-alerted-events", "POST", "/alerts/{id:int}/alerted_events", token | only4, s.alertedEvents, nil},
		{"alerts-alerted-events", "GET", "/alerts/{id:int}/alerted_events", token | only2, s.alertedEvents2, nil},
		{"alerts-events", "GET", "/alerts/{id:int}/events", ent, s.relatedEvents, nil},
		{"alerts-notes-list", "GET", "/alerts/{id:int}/analyst/notes", ent, s.notesList, nil},
		{"alerts-notes-add", "POST", "/alerts/{id:int}/analyst/notes", ent, s.notesAdd, nil},
		{"alerts-notes-update", "PUT", "/alerts/{id:int}/analyst/notes", ent, s.notesUpdate, nil},
		{"alerts-notes-delete", "DELETE", "/alerts/{id:int}/analyst/notes", ent, s.notesDelete, nil},

		{"rules-list", "POST", "/rules", token, s.rulesList, nil},
		{"rules-get", "GET", "/rules/{id:int}", token, s.rulesGet, nil},
	}
	return slices.Concat(s.hostUpkeepTable(), routes, s.actionTable(), s.accountTable(), s.managementTable(), s.emailTable(), s.dashboardTable(), s.tagsTable(),
		s.configsTable(), s.packsTable(), s.scheduledTable(), s.ruleEditingTable(), s.schemaTable(), s.yaraTable(),
		s.iocsTable(), s.huntTable(), s.searchTable(), s.alertOverviewTable(), s.release2Table())
}

// find looks the request up. Without a route the answer says why there is none.
func (a *api) find(method, path string) (*route, map[string]string, answer) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	parts := strings.Split(path, "/")
	slashed := append(slices.Clone(parts), "")
	var allowed []string
	html := false
	for i := range a.routes {
		values, ok := a.routes[i].match(parts)
		onlySlash := !ok && a.routes[i].matches(slashed)
		switch {
		case !ok && !onlySlash:
		case a.routes[i].method == method && onlySlash:
			return nil, nil, redirect(a.base + path + "/")
		case a.routes[i].method == method:
			return &a.routes[i], values, answer{}
		case !slices.Contains(allowed, a.routes[i].method):
			allowed = append(allowed, a.routes[i].method)
			html = a.routes[i].kind&needToken == 0
		}
	}
	if len(allowed) == 0 {
		return nil, nil, notFound
	}
	// Login and logout are plain views, the rest belongs to the API framework.
	refusal := plain(http.StatusMethodNotAllowed, "The method is not allowed for the requested URL.")
	if html {
		refusal = answer{status: http.StatusMethodNotAllowed, contentType: typeHTML, body: []byte(notAllowedHTML)}
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	if method == http.MethodOptions { // the framework answers these by itself, without a token
		refusal = answer{status: http.StatusOK, contentType: typeHTML + "; charset=utf-8"}
	}
	refusal.allow = strings.Join(append(allowed, http.MethodOptions), ", ")
	return nil, nil, refusal
}

func (r *route) match(parts []string) (map[string]string, bool) {
	if len(parts) != len(r.parts) {
		return nil, false
	}
	var values map[string]string
	for i, want := range r.parts {
		got := parts[i]
		if !strings.HasPrefix(want, "{") {
			if got != want {
				return nil, false
			}
			continue
		}
		name, digits := strings.CutSuffix(strings.Trim(want, "{}"), ":int")
		if got == "" || digits && strings.Trim(got, "0123456789") != "" {
			return nil, false
		}
		if values == nil {
			values = map[string]string{}
		}
		values[name] = got
	}
	return values, true
}

func (r *route) matches(parts []string) bool {
	_, ok := r.match(parts)
	return ok
}

// ServeHTTP answers one request to the API port, so that tests can do without a
// listener.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if one := s.socketAt(r.URL.Path); one != nil {
		s.serveSocket(w, r, one)
		return
	}
	for i := range s.apis {
		if path, inside := strings.CutPrefix(r.URL.Path, s.apis[i].base); inside && strings.HasPrefix(path, "/") {
			s.serveAPI(w, r, &s.apis[i], path)
			return
		}
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		console.write(w, r, false) // the proxy serves the single-page console for any path
		return
	}
	answer{status: http.StatusMethodNotAllowed, contentType: typeHTML, body: []byte(notAllowedHTML)}.write(w, r, false)
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, a *api, path string) {
	if !s.profile.v4 && websocket.IsWebSocketUpgrade(r) {
		s.hangUp(w, r)
		return
	}
	found, values, refusal := a.find(r.Method, path)
	id := "unknown"
	if found != nil {
		id = found.variant(r)
	}
	effect := s.meet(id, path)
	if instead := effect.before(w, r); instead != nil {
		instead.write(w, r, false)
		return
	}
	if found == nil {
		refusal.write(w, r, false)
		return
	}
	out := s.handle(found, values, r)
	effect.after()
	out.write(w, r, effect.truncate)
}

// handle checks token, body and role, in the server's order, and calls the handler.
func (s *Server) handle(found *route, values map[string]string, r *http.Request) answer {
	c := &call{request: r, route: found, path: values}
	if found.kind&needToken != 0 {
		user, refusal := s.authenticate(r.Header.Get("x-access-token"))
		if refusal != nil {
			return *refusal
		}
		c.user = user
	}
	var bad *answer
	login2 := found.path == "/login" && !s.profile.v4
	if c.args, bad = s.readArgs(r, login2); bad != nil {
		if login2 {
			return s.crash() // observed on release 2.1.2
		}
		return *bad
	}
	// PostgreSQL, the server's database, has no character U+0000 in texts.
	if c.holdsNUL() || strings.ContainsRune(r.URL.Path, 0) {
		return s.crash()
	}
	if found.kind&needAdmin != 0 && s.profile.v4 && c.user.role != roleAdmin {
		return forbidden
	}
	if found.id == "alerts-list" && c.number("start", "start", 0) > 0 {
		s.shiftPages()
	}
	out := found.handler(c)
	s.recordCall(c, out)
	return out
}
