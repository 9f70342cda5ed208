package ersim

// release2State is the state behind what release 4.0 answers with HTTP 410.
type release2State struct{}

// release2Table lists the calls around what release 4.0 answers with HTTP 410.
func (s *Server) release2Table() []route {
	return nil
}

// buildRelease2 makes the state of a new server.
func (s *Server) buildRelease2() {}
