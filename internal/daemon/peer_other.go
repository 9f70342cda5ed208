//go:build !linux

package daemon

import (
	"net"
	"os"

	"github.com/erbridge/erbridge/internal/soar"
)

// peerOf says nothing: how the other end of a socket is asked for differs by system.
func peerOf(net.Conn) (soar.SystemUser, bool) { return soar.SystemUser{}, false }

func ownUser() (soar.SystemUser, bool) {
	uid := os.Getuid()
	if uid < 0 { // Windows
		return soar.SystemUser{}, false
	}
	return systemUser(int64(uid)), true
}
