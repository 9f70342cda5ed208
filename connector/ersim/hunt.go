package ersim

// huntState is the state behind the section Hunt.
type huntState struct{}

// huntTable lists the calls around the section Hunt.
func (s *Server) huntTable() []route {
	return nil
}

// buildHunt makes the state of a new server.
func (s *Server) buildHunt() {}
