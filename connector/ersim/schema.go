package ersim

// schemaState is the state behind the section Schema.
type schemaState struct{}

// schemaTable lists the calls around the section Schema.
func (s *Server) schemaTable() []route {
	return nil
}

// buildSchema makes the state of a new server.
func (s *Server) buildSchema() {}
