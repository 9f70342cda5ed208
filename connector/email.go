package connector

// EmailService is the section "Email" of the REST guide.
type EmailService struct{ c *Client }
