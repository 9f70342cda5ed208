package ersim

// v0AccountTable lists the calls around the account, which are those of v1.
func (s *Server) v0AccountTable() []route {
	const open = routeKind(0)
	return []route{
		{"v0-login", "POST", "/login", open, s.login, nil},
		{"v0-logout", "POST", "/logout", open, s.logout, nil},
		{"v0-changepw", "POST", "/changepw", needToken, s.passwordChange, nil},
	}
}
