package sinks

import (
	_ "embed"

	"github.com/erbridge/erbridge/sinks/format"
)

//go:embed splunk_files/props.conf
var splunkProps []byte

//go:embed splunk_files/eventtypes.conf
var splunkEventTypes []byte

//go:embed splunk_files/tags.conf
var splunkTags []byte

// File is something that a receiver is set up with.
type File struct {
	Name  string
	About string // in a few words
	Data  []byte
}

// Files are what comes with erbridge for the receivers of a type of sink; nil for
// none.
func Files(typeName string) []File {
	switch typeName {
	case "elastic":
		return []File{
			{"elasticsearch-template.json", "index template for PUT _index_template/logs-eclecticiq_er", format.ECSTemplate},
			{"opensearch-template.json", "the same for OpenSearch 2.7 and later", format.OpenSearchTemplate},
		}
	case "sentinel":
		return []File{
			{"sentinel.json", "template of Azure Resource Manager: the table and the data collection rule", SentinelTemplate},
		}
	case "splunk":
		return []File{
			{"props.conf", "how Splunk reads the source types", splunkProps},
			{"eventtypes.conf", "which events belong to which data model", splunkEventTypes},
			{"tags.conf", "the tags of the data models", splunkTags},
		}
	}
	return nil
}
