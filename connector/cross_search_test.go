package connector_test

var crossSearch = map[string]cross{}
