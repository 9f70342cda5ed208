package connector

// ConfigsService is the section "Config" of the REST guide.
type ConfigsService struct{ c *Client }
