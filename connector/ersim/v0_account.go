package ersim

import "crypto/subtle"

// v0AccountTable lists the calls around the account.
func (s *Server) v0AccountTable() []route {
	const open = routeKind(0)
	return []route{
		{"v0-login", "POST", "/login", open, s.login, nil},
		{"v0-logout", "POST", "/logout", open, s.logout, nil},
		{"v0-changepw", "POST", "/changepw", needToken, s.v0ChangePassword, nil},
	}
}

// API: POST /changepw. There is no rule for passwords.
func (s *Server) v0ChangePassword(c *call) answer {
	c.need("old_password", "old password")
	c.need("new_password", "new password")
	c.need("confirm_new_password", "confirm new password")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.text("new_password") != c.text("confirm_new_password"):
		return s.fail("new password and confirm new password are not matching for the user")
	case subtle.ConstantTimeCompare([]byte(c.user.password), []byte(c.text("old_password"))) != 1:
		return s.fail("old password is not matching")
	}
	c.user.password = c.text("new_password")
	return s.v0OK("password is updated successfully", nil)
}
