// Package testenv says what a test needs from the machine. A test that needs a
// program which is not installed is skipped with a line that says so; where
// ERBRIDGE_REQUIRE_SERVICES=1 is set, as in CI, it fails instead, so that
// nothing is left out there without anybody noticing.
package testenv

import (
	"os"
	"os/exec"
	"testing"
)

// RequireVariable makes Need fail where it would skip, when it is set to 1.
const RequireVariable = "ERBRIDGE_REQUIRE_SERVICES"

// Need returns the full paths of programs that the test cannot do without, in
// the order in which they are named.
func Need(t testing.TB, programs ...string) []string {
	t.Helper()
	paths := make([]string, len(programs))
	for i, program := range programs {
		path, err := find(program)
		if err != nil {
			if os.Getenv(RequireVariable) == "1" {
				t.Fatalf("needs the program %s, which is not installed, and %s=1 asks for everything", program, RequireVariable)
			}
			t.Skipf("left out: needs the program %s, which is not installed", program)
		}
		paths[i] = path
	}
	return paths
}

// find looks in PATH and then where Debian keeps daemons, which is not in the
// PATH of an ordinary user.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin/", "/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + program); err == nil {
			return path, nil
		}
	}
	return "", err
}
