package connector

import (
	"context"
	"fmt"
	"iter"
	"strings"
)

// SchemaService is the section "Schema" of the REST guide: the osquery tables that
// agents of the server know.
type SchemaService struct{ c *Client }

// SchemaTable is an osquery table.
type SchemaTable struct {
	Name        string
	Description string   // Tables only
	Platforms   []string // Tables only; windows, linux, darwin
	// SQL is the statement that makes the table, as the server has it; Table and SQL
	// only.
	SQL string
	// Columns are those of the table, in its order for Table and by name for Tables.
	// nil when the statement could not be taken apart.
	Columns []SchemaColumn
}

// SchemaColumn is a column of an osquery table.
type SchemaColumn struct {
	Name        string
	Type        string // TEXT, INTEGER, BIGINT and so on; may be empty
	Description string // Tables only
	// Required reports whether a query must name the column in its condition. Tables
	// only.
	Required bool
}

// Tables lists the tables with descriptions and columns. A server that has not read
// its agents' schema yet has none, while SQL and Table work. With a table that cannot
// be read, the error is a *MalformedError, and the others are returned all the same.
// API: GET /schema, export_type json (REST guide 4.0.0, "Get schema").
func (s *SchemaService) Tables(ctx context.Context) (tables []SchemaTable, err error) {
	return listed(ctx, s.c, callSchemaList.asking(map[string]string{"export_type": "json"}), schemaTable)
}

func schemaTable(v value) (SchemaTable, error) {
	t := SchemaTable{Name: v.at("name").text(), Description: v.at("description").text(), Platforms: v.at("platform", "platforms").texts()}
	for name, column := range v.at("schema").fields() {
		t.Columns = append(t.Columns, SchemaColumn{
			Name: name, Type: strings.ToUpper(column.at("type").text()), Description: column.at("description").text(),
			Required: column.at("is_required").truth(),
		})
	}
	if t.Name == "" {
		return t, fmt.Errorf("table without name")
	}
	return t, nil
}

// SQL lists the tables with the statements that make them, by name.
// API: GET /schema, export_type sql (REST guide 4.0.0, "Get schema").
func (s *SchemaService) SQL(ctx context.Context) (tables []SchemaTable, err error) {
	k := callSchemaList.asking(map[string]string{"export_type": "sql"})
	isObject := false
	err = s.c.do(ctx, k, nil, data(func(v value) {
		isObject = v.isObject()
		for name, statement := range v.fields() {
			tables = append(tables, tableOf(name, statement.text()))
		}
	}))
	if err == nil && !isObject {
		err = lacking(k, "the answer is not an object of tables")
	}
	return tables, err
}

// Table fetches one table. ErrNotFound if agents have no such table.
// API: GET /schema/{table} (REST guide 4.0.0, "Get schema of a table"). The guide
// shows an object with the table's name; releases 2.1.2 and 4.0 send the text alone.
func (s *SchemaService) Table(ctx context.Context, name string) (t SchemaTable, err error) {
	k, err := callSchemaGet.with(name)
	if err != nil {
		return SchemaTable{}, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) {
		if v.isObject() {
			v = v.at(name)
		}
		t = tableOf(name, v.text())
	}))
	if err == nil && t.SQL == "" {
		err = missing(k)
	}
	if err != nil {
		return SchemaTable{}, err
	}
	return t, nil
}

func tableOf(name, statement string) SchemaTable {
	return SchemaTable{Name: name, SQL: statement, Columns: parseCreateTable(statement)}
}

// parseCreateTable reads the columns of CREATE TABLE name (column TYPE, ...). It
// returns nil for anything else.
func parseCreateTable(statement string) []SchemaColumn {
	if !strings.HasPrefix(strings.ToUpper(strings.TrimSpace(statement)), "CREATE ") {
		return nil
	}
	_, list, ok := strings.Cut(statement, "(")
	end := strings.LastIndexByte(list, ')')
	if !ok || end < 0 {
		return nil
	}
	var columns []SchemaColumn
	for part := range outerParts(list[:end]) {
		name, kind, _ := strings.Cut(strings.Join(strings.Fields(part), " "), " ")
		switch strings.ToUpper(strings.TrimRight(name, "(")) {
		case "":
			return nil
		case "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "CONSTRAINT":
			continue
		}
		kind = strings.ToUpper(strings.TrimSuffix(kind, " HIDDEN"))
		columns = append(columns, SchemaColumn{Name: strings.Trim(name, "\"`[]"), Type: kind})
	}
	return columns
}

// outerParts cuts a list at the commas that stand outside of parentheses.
func outerParts(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		depth, start := 0, 0
		for i := range len(list) {
			switch list[i] {
			case '(':
				depth++
			case ')':
				depth--
			case ',':
				if depth != 0 {
					continue
				}
				if !yield(list[start:i]) {
					return
				}
				start = i + 1
			}
		}
		yield(list[start:])
	}
}
