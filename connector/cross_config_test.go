package connector_test

var crossConfig = map[string]cross{}
