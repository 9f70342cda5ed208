package format

import _ "embed"

// OpenSearchTemplate is ECSTemplate in the field types of OpenSearch 2.7 and
// later, which has no flattened and no wildcard of its own.
//
//go:embed opensearch_template.json
var OpenSearchTemplate []byte
