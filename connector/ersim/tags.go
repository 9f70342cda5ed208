package ersim

// tagsState is the state behind the section Tags.
type tagsState struct{}

// tagsTable lists the calls around the section Tags.
func (s *Server) tagsTable() []route {
	return nil
}

// buildTags makes the state of a new server.
func (s *Server) buildTags() {}
