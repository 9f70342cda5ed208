package connector_test

import "github.com/erbridge/erbridge/connector"

var crossHosts = map[string]cross{
	"hosts-list": {test: func(r *crossRig) {
		page, err := r.client.Hosts.Page(r.Context(), connector.HostQuery{Limit: 4})
		r.ok(err)
		r.is("rows", len(page.Results), 4)
	}},
}
