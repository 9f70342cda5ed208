package ersim

// configsState is the state behind the section Config.
type configsState struct{}

// configsTable lists the calls around the section Config.
func (s *Server) configsTable() []route {
	return nil
}

// buildConfigs makes the state of a new server.
func (s *Server) buildConfigs() {}
