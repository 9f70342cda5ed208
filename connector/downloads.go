package connector

// DownloadsService is what the server's proxy hands to anybody, without a login:
// its certificate and the tools that put agents on hosts.
type DownloadsService struct{ c *Client }
