package sinksim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// TheHive is the part of TheHive 5 that takes alerts and comments. It is an
// http.Handler.
type TheHive struct {
	// Key is the only API key.
	Key string

	answers answers

	mu     sync.Mutex
	alerts []TheHiveAlert
}

// TheHiveAlert is an alert that was created.
type TheHiveAlert struct {
	ID           string   `json:"_id"`
	Type         string   `json:"type"`
	Source       string   `json:"source"`
	SourceRef    string   `json:"sourceRef"`
	Title        string   `json:"title"`
	Description  string   `json:"description"`
	Severity     int      `json:"severity"`
	Date         int64    `json:"date"`
	TLP          int      `json:"tlp"`
	PAP          int      `json:"pap"`
	Tags         []string `json:"tags"`
	ExternalLink string   `json:"externalLink"`
	Observables  []struct {
		DataType string `json:"dataType"`
		Data     string `json:"data"`
		Message  string `json:"message"`
	} `json:"observables"`
	Comments []string `json:"-"`
}

// Next queues answers for the next requests.
func (h *TheHive) Next(next ...Answer) { h.answers.add(next...) }

// Alerts are those that there are, with their comments.
func (h *TheHive) Alerts() []TheHiveAlert {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.alerts)
}

// Delete removes an alert, as a person would.
func (h *TheHive) Delete(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alerts = slices.DeleteFunc(h.alerts, func(a TheHiveAlert) bool { return a.ID == id })
}

// ServeHTTP answers as https://docs.strangebee.com/thehive/api-docs says.
func (h *TheHive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.answers.give(w, false) {
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+h.Key {
		theHiveRefuse(w, http.StatusUnauthorized, "AuthenticationError", "Authentication failure")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2<<20))
	if err != nil {
		theHiveRefuse(w, http.StatusRequestEntityTooLarge, "TooLarge", "request entity is too large")
		return
	}
	id, isComment := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/alert/"), "/comment")
	status, answer := http.StatusNotFound, any(nil)
	switch {
	case r.Method != http.MethodPost:
	case r.URL.Path == "/api/v1/alert":
		status, answer = h.create(body)
	case r.URL.Path == "/api/v1/query":
		status, answer = h.query(body)
	case isComment:
		status, answer = h.comment(id, body)
	}
	if h.answers.give(w, true) {
		return
	}
	if text, refused := answer.(string); refused || answer == nil {
		theHiveRefuse(w, status, map[int]string{400: "BadRequest", 404: "NotFoundError"}[status], text)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func theHiveRefuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"type": kind, "message": message})
}

func (h *TheHive) create(body []byte) (status int, answer any) {
	var a TheHiveAlert
	if err := exactly(body, &a); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	if wrong := a.wrong(); wrong != "" {
		return http.StatusBadRequest, wrong
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, other := range h.alerts {
		if other.Type == a.Type && other.Source == a.Source && other.SourceRef == a.SourceRef {
			return http.StatusBadRequest, fmt.Sprintf("Alert %s:%s:%s already exists in organisation", a.Type, a.Source, a.SourceRef)
		}
	}
	a.ID = fmt.Sprintf("~%d", 4096*(len(h.alerts)+1))
	h.alerts = append(h.alerts, a)
	return http.StatusCreated, a
}

// wrong says why an alert is not taken.
func (a *TheHiveAlert) wrong() string {
	length := func(name, text string, least, most int) string {
		if n := utf8.RuneCountInString(text); n < least || n > most {
			return fmt.Sprintf("%s: %d characters, expected %d to %d", name, n, least, most)
		}
		return ""
	}
	for _, wrong := range []string{
		length("type", a.Type, 1, 32), length("source", a.Source, 1, 64), length("sourceRef", a.SourceRef, 1, 128),
		length("title", a.Title, 1, 512), length("description", a.Description, 1, 1<<20), length("externalLink", a.ExternalLink, 0, 4096),
	} {
		if wrong != "" {
			return wrong
		}
	}
	switch {
	case a.ID != "":
		return "_id is not for clients"
	case a.Severity < 1 || a.Severity > 4:
		return fmt.Sprintf("severity %d", a.Severity)
	case a.TLP < 0 || a.TLP > 4 || a.PAP < 0 || a.PAP > 3:
		return fmt.Sprintf("tlp %d, pap %d", a.TLP, a.PAP)
	}
	for _, tag := range a.Tags {
		if wrong := length("tag", tag, 1, 128); wrong != "" {
			return wrong
		}
	}
	known := []string{
		"autonomous-system", "domain", "file", "filename", "fqdn", "hash", "hostname", "ip", "mail", "mail-subject", "other", "regexp", "registry",
		"uri_path", "url", "user-agent",
	}
	seen := map[string]bool{}
	for _, o := range a.Observables {
		key := o.DataType + " " + o.Data
		switch {
		case !slices.Contains(known, o.DataType):
			return "unknown dataType " + o.DataType
		case o.Data == "" || len(o.Data) > 32<<10:
			return fmt.Sprintf("observable %s of %d bytes", o.DataType, len(o.Data))
		case seen[key]:
			return "Observable already exists"
		}
		seen[key] = true
	}
	return ""
}

func (h *TheHive) comment(id string, body []byte) (status int, answer any) {
	var comment struct {
		Message string `json:"message"`
	}
	if err := exactly(body, &comment); err != nil || comment.Message == "" {
		return http.StatusBadRequest, "message is missing"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.alerts {
		if h.alerts[i].ID == id {
			h.alerts[i].Comments = append(h.alerts[i].Comments, comment.Message)
			return http.StatusCreated, map[string]string{"_id": "~1", "message": comment.Message}
		}
	}
	return http.StatusNotFound, "Alert not found"
}

// comments understands the query for the newest comments of an alert.
func (h *TheHive) comments(body []byte) (status int, answer any) {
	var query struct {
		Query []struct {
			Name   string              `json:"_name"`
			Alert  string              `json:"idOrName"`
			Fields []map[string]string `json:"_fields"`
			From   int                 `json:"from"`
			To     int                 `json:"to"`
		} `json:"query"`
	}
	if err := exactly(body, &query); err != nil || len(query.Query) != 4 || query.Query[1].Name != "comments" || query.Query[2].Name != "sort" ||
		len(query.Query[2].Fields) != 1 || query.Query[2].Fields[0]["_createdAt"] != "desc" || query.Query[3].Name != "page" {
		return http.StatusBadRequest, "query is not understood"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.alerts, func(a TheHiveAlert) bool { return a.ID == query.Query[0].Alert })
	if i < 0 {
		return http.StatusNotFound, "Alert not found"
	}
	found := []map[string]string{}
	for _, message := range slices.Backward(h.alerts[i].Comments) {
		found = append(found, map[string]string{"_id": "~1", "message": message})
	}
	page := query.Query[3]
	return http.StatusOK, found[min(page.From, len(found)):min(page.To, len(found))]
}

// query understands listAlert with equalities, and page; and what comments does.
func (h *TheHive) query(body []byte) (status int, answer any) {
	if bytes.Contains(body, []byte(`"getAlert"`)) {
		return h.comments(body)
	}
	var query struct {
		Query []struct {
			Name string `json:"_name"`
			And  []map[string]struct {
				Field string `json:"_field"`
				Value string `json:"_value"`
			} `json:"_and"`
			From int `json:"from"`
			To   int `json:"to"`
		} `json:"query"`
	}
	if err := exactly(body, &query); err != nil || len(query.Query) != 3 || query.Query[0].Name != "listAlert" ||
		query.Query[1].Name != "filter" || query.Query[2].Name != "page" {
		return http.StatusBadRequest, "query is not understood"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	found := []TheHiveAlert{}
	for _, a := range h.alerts {
		matches := true
		for _, condition := range query.Query[1].And {
			eq, ok := condition["_eq"]
			value, known := map[string]string{"type": a.Type, "source": a.Source, "sourceRef": a.SourceRef}[eq.Field]
			if !ok || !known {
				return http.StatusBadRequest, "condition is not understood"
			}
			matches = matches && value == eq.Value
		}
		if matches {
			found = append(found, a)
		}
	}
	page := query.Query[2]
	return http.StatusOK, found[min(page.From, len(found)):min(page.To, len(found))]
}
