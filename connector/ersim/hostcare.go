package ersim

// hostcareState is the state behind configuration, activity, removal and status logs of hosts.
type hostcareState struct{}

// hostcareTable lists the calls around configuration, activity, removal and status logs of hosts.
func (s *Server) hostcareTable() []route {
	return nil
}

// buildHostcare makes the state of a new server.
func (s *Server) buildHostcare() {}
