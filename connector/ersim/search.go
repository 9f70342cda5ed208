package ersim

// searchState is the state behind the section Search.
type searchState struct{}

// searchTable lists the calls around the section Search.
func (s *Server) searchTable() []route {
	return nil
}

// buildSearch makes the state of a new server.
func (s *Server) buildSearch() {}
