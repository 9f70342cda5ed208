package config

// LibraryNames lists the playbooks that ship with erbridge.
func LibraryNames() []string { return nil }
