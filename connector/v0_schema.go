package connector

import "context"

// Tables lists the osquery tables with the statements that make them, by name.
// API v0: GET /schema (guide of API v0, "Get Schema Info for all OSQuery Tables").
func (s *V0Service) Tables(ctx context.Context) (tables []SchemaTable, err error) {
	isObject := false
	err = s.c.do(ctx, callV0Schema, nil, data(func(v value) {
		isObject = v.isObject()
		for name, statement := range v.fields() {
			tables = append(tables, tableOf(name, statement.text()))
		}
	}))
	if err == nil && !isObject {
		err = lacking(callV0Schema, "the answer is not an object of tables")
	}
	return tables, err
}

// Table fetches one osquery table. ErrNotFound if agents have no such table.
// API v0: GET /schema/{table} (guide of API v0, "Get Schema info for Specific OSQuery
// Table from Server").
func (s *V0Service) Table(ctx context.Context, name string) (SchemaTable, error) {
	k, err := callV0SchemaGet.with(name)
	if err != nil {
		return SchemaTable{}, err
	}
	return v0One(ctx, s, k, nil, func(v value) (SchemaTable, error) {
		if v.isObject() {
			v = v.at(name)
		}
		table := tableOf(name, v.text())
		if table.SQL == "" {
			return table, errNotObject
		}
		return table, nil
	})
}
