package ersim

// rulecareState is the state behind what changes rules.
type rulecareState struct{}

// rulecareTable lists the calls around what changes rules.
func (s *Server) rulecareTable() []route {
	return nil
}

// buildRulecare makes the state of a new server.
func (s *Server) buildRulecare() {}
