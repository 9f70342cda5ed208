package ersim

// iocsState is the state behind the section IOCs.
type iocsState struct{}

// iocsTable lists the calls around the section IOCs.
func (s *Server) iocsTable() []route {
	return nil
}

// buildIocs makes the state of a new server.
func (s *Server) buildIocs() {}
