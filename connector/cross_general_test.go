package connector_test

var crossGeneral = map[string]cross{}
