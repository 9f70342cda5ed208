package connector

// IOCsService is the section "IOCs" of the REST guide.
type IOCsService struct {
	c *Client
	// turn lets one writer of this client read, merge and write at a time.
	turn chan struct{}
}
