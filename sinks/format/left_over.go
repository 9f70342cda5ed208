package format

import (
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// placedColumns are the columns that fields reads. All others, and those of these whose
// value did not find a place, go where a format keeps what it has no word for.
var placedColumns = map[string]bool{
	"pid": true, "src_pid": true, "target_pid": true, "parent": true, "parent_pid": true, "local_port": true, "remote_port": true,
	"path": true, "src_path": true, "target_path": true, "parent_path": true, "process_name": true, "image_path": true, "cmdline": true,
	"parent_cmdline": true, "cwd": true, "process_guid": true, "src_process_guid": true, "target_process_guid": true, "parent_process_guid": true,
	"md5": true, "sha1": true, "sha256": true, "url": true, "domain_name": true, "local_address": true, "remote_address": true,
	"target_name": true, "value_data": true,
}

// leastPlaced is how long a value is at the least that is looked for in a document. A
// shorter one, such as the pid 1, stands somewhere by chance.
const leastPlaced = 4

// leftOver are the columns that a document does not have yet, under names that can be
// those of fields; nil for none.
func leftOver(doc object, a *soar.Alert) object {
	said := map[string]bool{}
	leaves(doc, said)
	out := columnFields(a)
	for name := range out {
		if value, ok := out[name].(string); ok && len(value) >= leastPlaced && placedColumns[name] && said[value] {
			delete(out, name)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// flatColumns are the left over columns for an object in which erbridge's own values stand
// beside them, under names that begin with er_: a column of such a name, which any
// administrator of a host can invent, gets another one.
func flatColumns(doc object, a *soar.Alert) object {
	out := object{}
	for name, value := range leftOver(doc, a) {
		if strings.HasPrefix(name, "er_") {
			name = "column_" + name
		}
		out[name] = value
	}
	return out
}

// leaves collects the texts of a document, and its numbers that come from columns: those
// are int64.
func leaves(v any, said map[string]bool) {
	switch v := v.(type) {
	case string:
		said[v] = true
	case int64:
		said[number{v, true}.String()] = true
	case []string:
		for _, text := range v {
			said[text] = true
		}
	case []object:
		for _, inner := range v {
			leaves(inner, said)
		}
	case object:
		for _, inner := range v {
			leaves(inner, said)
		}
	}
}
