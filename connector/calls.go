package connector

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// call is one documented call of the server. Whether it is a read or has an
// effect cannot be told from the method: lists are POST. So each says it.
type call struct {
	id     string // name in metrics, few and fixed
	method string
	path   string // below the base path; {} stands for one escaped part

	// effect marks calls that change something: sent once, never repeated here.
	effect bool
	// enterprise marks paths that a Community server does not have.
	enterprise bool
	// open marks calls that need no token.
	open bool
	// byID marks reads of one object, where a refusal means that there is none.
	byID bool
}

// API: REST guide 4.0.0; the section names are the guide's. carves-query is in
// the guide of release 2.x only, but every release has it.
var (
	authIndex  = call{id: "auth-index", method: http.MethodGet, path: "/index", open: true}
	authLogin  = call{id: "auth-login", method: http.MethodPost, path: "/login", open: true}
	authLogout = call{id: "auth-logout", method: http.MethodPost, path: "/logout", open: true}
	authProbe  = call{id: "auth-probe", method: http.MethodGet, path: "/hosts/count", open: true}

	hostsList       = call{id: "hosts-list", method: http.MethodPost, path: "/hosts"}
	hostsGet        = call{id: "hosts-get", method: http.MethodGet, path: "/hosts/{}", byID: true}
	hostsCount      = call{id: "hosts-count", method: http.MethodGet, path: "/hosts/count"}
	hostsTagsList   = call{id: "hosts-tags-list", method: http.MethodGet, path: "/hosts/{}/tags", byID: true}
	hostsTagsAdd    = call{id: "hosts-tags-add", method: http.MethodPost, path: "/hosts/{}/tags", effect: true}
	hostsTagsRemove = call{id: "hosts-tags-remove", method: http.MethodDelete, path: "/hosts/{}/tags", effect: true}

	alertsList         = call{id: "alerts-list", method: http.MethodPost, path: "/alerts"}
	alertsGet          = call{id: "alerts-get", method: http.MethodGet, path: "/alerts/{}", byID: true}
	alertsUpdate       = call{id: "alerts-update", method: http.MethodPut, path: "/alerts", effect: true}
	alertsAggregated   = call{id: "alerts-alerted-events", method: http.MethodPost, path: "/alerts/{}/alerted_events"}
	alertsAggregated2x = call{id: "alerts-alerted-events", method: http.MethodGet, path: "/alerts/{}/alerted_events"}
	alertsRelated      = call{id: "alerts-events", method: http.MethodGet, path: "/alerts/{}/events", enterprise: true}
	alertsProcess      = call{id: "alerts-process", method: http.MethodPost, path: "/alerts/process", enterprise: true}
	alertsProcessChild = call{id: "alerts-process-child", method: http.MethodPost, path: "/alerts/process/child", enterprise: true}
	notesList          = call{id: "alerts-notes-list", method: http.MethodGet, path: "/alerts/{}/analyst/notes", enterprise: true}
	notesAdd           = call{id: "alerts-notes-add", method: http.MethodPost, path: "/alerts/{}/analyst/notes", enterprise: true, effect: true}
	notesUpdate        = call{id: "alerts-notes-update", method: http.MethodPut, path: "/alerts/{}/analyst/notes", enterprise: true, effect: true}
	notesDelete        = call{id: "alerts-notes-delete", method: http.MethodDelete, path: "/alerts/{}/analyst/notes", enterprise: true, effect: true}

	responseList      = call{id: "response-list", method: http.MethodPost, path: "/response", enterprise: true}
	responseView      = call{id: "response-view", method: http.MethodPost, path: "/response/view", enterprise: true}
	responseGet       = call{id: "response-get", method: http.MethodGet, path: "/response/{}", enterprise: true, byID: true}
	responseStatus    = call{id: "response-status", method: http.MethodPost, path: "/response/status", enterprise: true}
	responseStatusAll = call{id: "response-status-all", method: http.MethodGet, path: "/response/status/all", enterprise: true}
	responseAdd       = call{id: "response-add", method: http.MethodPost, path: "/response/add", enterprise: true, effect: true}
	responseCustom    = call{id: "response-custom-action", method: http.MethodPost, path: "/response/custom-action", enterprise: true, effect: true}
	responseCancel    = call{id: "response-cancel", method: http.MethodPost, path: "/response/cancel", enterprise: true, effect: true}
	responseRestart   = call{id: "response-restart-agent", method: http.MethodPost, path: "/response/restart-agent", enterprise: true, effect: true}

	// The Defender calls queue a command even where they only ask something.
	defenderScan       = call{id: "defender-scan-now", method: http.MethodPost, path: "/defender-management/scan-now", enterprise: true, effect: true}
	defenderStatus     = call{id: "defender-computer-status", method: http.MethodPost, path: "/defender-management/computer-status", enterprise: true, effect: true}
	defenderQuarantine = call{id: "defender-get-quarantine", method: http.MethodPost, path: "/defender-management/get-quarantine", enterprise: true, effect: true}
	defenderCarve      = call{id: "defender-quarantine-carve", method: http.MethodPost, path: "/defender-management/quarantine_file/carve",
		enterprise: true, effect: true}

	carvesList     = call{id: "carves-list", method: http.MethodPost, path: "/carves"}
	carvesQuery    = call{id: "carves-query", method: http.MethodPost, path: "/carves/query", byID: true}
	carvesDownload = call{id: "carves-download", method: http.MethodGet, path: "/carves/download/{}", byID: true}
	carvesDelete   = call{id: "carves-delete", method: http.MethodPost, path: "/carves/delete", effect: true}

	distributedAdd = call{id: "distributed-add", method: http.MethodPost, path: "/distributed/add", effect: true}
	rulesGet       = call{id: "rules-get", method: http.MethodGet, path: "/rules/{}", byID: true}
)

// with fills the parts of the path in, escaped.
func (k call) with(parts ...string) (call, error) {
	for _, part := range parts {
		// A dot path would climb out of the section; an empty one would turn the
		// call into another.
		if part == "" || part == "." || part == ".." {
			return k, fmt.Errorf("%s: %w: %q cannot stand in a path", k.id, ErrInvalid, part)
		}
		k.path = strings.Replace(k.path, "{}", url.PathEscape(part), 1)
	}
	return k, nil
}
