package daemon

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/erbridge/erbridge/internal/soar"
)

// peerOf is the user at the other end of a unix socket (unix(7), SO_PEERCRED).
func peerOf(conn net.Conn) (soar.SystemUser, bool) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return soar.SystemUser{}, false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return soar.SystemUser{}, false
	}
	var credentials *syscall.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		credentials, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return soar.SystemUser{}, false
	}
	return userOf(int(credentials.Pid), int64(credentials.Uid)), true
}

func ownUser() (soar.SystemUser, bool) { return userOf(os.Getpid(), int64(os.Getuid())), true }

// userOf is the user who logged in to start a process, which sudo and su do not change
// (pam_loginuid(8)); where nobody did, such as in a container, the user it runs as.
func userOf(pid int, uid int64) soar.SystemUser {
	const nobody = 1<<32 - 1
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	if login, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil && login != nobody {
		uid = login
	}
	return systemUser(uid)
}
