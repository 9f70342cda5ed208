package connector

// HuntService is the section "Hunt" of the REST guide.
type HuntService struct{ c *Client }
