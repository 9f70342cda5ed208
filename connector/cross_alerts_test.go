package connector_test

var crossAlerts = map[string]cross{}
