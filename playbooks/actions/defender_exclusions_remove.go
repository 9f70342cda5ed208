package actions

import "github.com/erbridge/erbridge/connector"

func init() {
	addExclusionChange("defender.exclusions_remove", "defender.exclusions_add",
		"Lets scans of Windows Defender on a host take in again what they left out, and asks Defender whether they do.",
		connector.RemoveExclusion, "include", "included", "in")
}
