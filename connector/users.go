package connector

// UsersService is the sections "Users" and "Passwords" of the REST guide.
type UsersService struct{ c *Client }
