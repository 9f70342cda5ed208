package connector

// ManagementService is the section "Management" of the REST guide.
type ManagementService struct{ c *Client }
