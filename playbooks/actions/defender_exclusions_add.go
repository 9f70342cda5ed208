package actions

import "github.com/erbridge/erbridge/connector"

func init() {
	addExclusionChange("defender.exclusions_add", "defender.exclusions_remove",
		"Lets scans of Windows Defender on a host leave something out, and asks Defender whether they do.",
		connector.AddExclusion, "exclude", "excluded", "from")
}
