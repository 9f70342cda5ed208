package connector

// PacksService is the section "Packs" of the REST guide.
type PacksService struct{ c *Client }
