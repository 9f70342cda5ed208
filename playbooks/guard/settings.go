package guard

// Settings are the section guard of the configuration. The zero value has no rule of
// its own; what is built in holds all the same.
type Settings struct{}

// Check looks for mistakes that the types cannot show.
func (s *Settings) Check() error { return nil }
