package connector

// SchemaService is the section "Schema" of the REST guide.
type SchemaService struct{ c *Client }
