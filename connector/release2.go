package connector

// Release2Service holds the calls of the releases 2.x that release 4.0 no longer has.
type Release2Service struct{ c *Client }
