package ersim

// alertcareState is the state behind counts, graph, state and exports of alerts.
type alertcareState struct{}

// alertcareTable lists the calls around counts, graph, state and exports of alerts.
func (s *Server) alertcareTable() []route {
	return nil
}

// buildAlertcare makes the state of a new server.
func (s *Server) buildAlertcare() {}
