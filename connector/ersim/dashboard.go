package ersim

// dashboardState is the state behind the dashboard and the downloads.
type dashboardState struct{}

// dashboardTable lists the calls around the dashboard and the downloads.
func (s *Server) dashboardTable() []route {
	return nil
}

// buildDashboard makes the state of a new server.
func (s *Server) buildDashboard() {}
