package ersim

import (
	"maps"
	"slices"
	"strings"
)

// schemaTable lists the calls around the section Schema.
func (s *Server) schemaTable() []route {
	return []route{
		{"schema-list", "GET", "/schema", needToken, s.schemaList, nil},
		{"schema-get", "GET", "/schema/{table}", needToken, s.schemaGet, nil},
	}
}

// tableAbout says in a few words what a table holds.
var tableAbout = map[string]string{
	"processes": "programs that run", "file": "files by path", "hash": "hashes of files by path", "users": "local accounts",
	"windows_firewall_rules": "rules of the Windows firewall", "firewall_rules": "rules of the Windows firewall",
	"system_info": "machine and its hardware", "os_version": "operating system", "carves": "file sets sent to the server",
}

// whole are the columns that hold whole numbers.
var whole = []string{
	"pid", "parent", "uid", "gid", "start_time", "mtime", "size", "time", "on_disk", "threads", "cpu_physical_cores", "physical_memory", "carve",
}

func columnType(name string) string {
	if slices.Contains(whole, name) {
		return "BIGINT"
	}
	return "TEXT"
}

// createTable is the statement that makes a table.
func createTable(name string) string {
	columns := make([]string, 0, len(tables[name].columns))
	for _, column := range tables[name].columns {
		columns = append(columns, column+" "+columnType(column))
	}
	return "CREATE TABLE " + name + " (" + strings.Join(columns, ", ") + ")"
}

const schemaFetched = "PolyLogyx agent schema is fetched successfully"

// API: GET /schema: statements by table, or descriptions.
func (s *Server) schemaList(c *call) answer {
	form := c.choice("export_type", "export_type(json/sql schema)", "sql", "json")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	names := slices.Sorted(maps.Keys(tables))
	if form != "json" {
		statements := obj{}
		for _, name := range names {
			statements[name] = createTable(name)
		}
		return s.ok(schemaFetched, statements)
	}
	rows := []obj{}
	for _, name := range names {
		columns := obj{}
		for _, column := range tables[name].columns {
			needed := (name == "file" || name == "hash") && (column == "path" || column == "directory")
			columns[column] = obj{"type": columnType(column), "description": "", "is_required": needed}
		}
		platforms := []string{"windows", "linux", "darwin"}
		if tables[name].windows {
			platforms = platforms[:1]
		}
		rows = append(rows, obj{"name": name, "description": tableAbout[name], "platform": platforms, "schema": columns})
	}
	return s.ok(schemaFetched, rows)
}

// API: GET /schema/{table}: the statement as text.
func (s *Server) schemaGet(c *call) answer {
	if _, ok := tables[c.path["table"]]; !ok {
		return s.fail("Table with this name does not exist")
	}
	return s.ok("Successfully fetched the table schema", createTable(c.path["table"]))
}
