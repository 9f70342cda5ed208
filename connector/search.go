package connector

// SearchService is the section "Search" of the REST guide.
type SearchService struct{ c *Client }
