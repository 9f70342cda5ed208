package connector_test

var crossV0 = map[string]cross{}
