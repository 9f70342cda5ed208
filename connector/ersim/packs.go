package ersim

// packsState is the state behind the section Packs.
type packsState struct{}

// packsTable lists the calls around the section Packs.
func (s *Server) packsTable() []route {
	return nil
}

// buildPacks makes the state of a new server.
func (s *Server) buildPacks() {}
