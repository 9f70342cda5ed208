package ersim

// scheduledState is the state behind the section Queries, live queries apart.
type scheduledState struct{}

// scheduledTable lists the calls around the section Queries, live queries apart.
func (s *Server) scheduledTable() []route {
	return nil
}

// buildScheduled makes the state of a new server.
func (s *Server) buildScheduled() {}
