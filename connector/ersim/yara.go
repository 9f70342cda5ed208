package ersim

// yaraState is the state behind the section YARA.
type yaraState struct{}

// yaraTable lists the calls around the section YARA.
func (s *Server) yaraTable() []route {
	return nil
}

// buildYara makes the state of a new server.
func (s *Server) buildYara() {}
