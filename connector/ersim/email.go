package ersim

// emailState is the state behind the e-mail settings.
type emailState struct{}

// emailTable lists the calls around the e-mail settings.
func (s *Server) emailTable() []route {
	return nil
}

// buildEmail makes the state of a new server.
func (s *Server) buildEmail() {}
