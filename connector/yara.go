package connector

// YARAService is the section "YARA" of the REST guide.
type YARAService struct{ c *Client }
