package ersim

// accountState is the state behind users, roles, single sign-on and passwords.
type accountState struct{}

// accountTable lists the calls around users, roles, single sign-on and passwords.
func (s *Server) accountTable() []route {
	return nil
}

// buildAccount makes the state of a new server.
func (s *Server) buildAccount() {}
