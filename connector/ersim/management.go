package ersim

// managementState is the state behind settings, keys, engines, log levels, purge, log files and metrics.
type managementState struct{}

// managementTable lists the calls around settings, keys, engines, log levels, purge, log files and metrics.
func (s *Server) managementTable() []route {
	return nil
}

// buildManagement makes the state of a new server.
func (s *Server) buildManagement() {}
