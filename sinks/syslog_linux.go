package sinks

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpEstablished is TCP_ESTABLISHED of the kernel's include/net/tcp_states.h.
const tcpEstablished = 1

// sendQueue says how many bytes the peer's kernel has not acknowledged, and
// whether the connection was still whole in both directions after that was read:
// a reset empties the queue too.
func sendQueue(conn *net.TCPConn) (queued int, whole bool, err error) {
	err = control(conn, func(fd int) error {
		var err error
		if queued, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ); err != nil {
			return err
		}
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		whole = info.State == tcpEstablished
		return nil
	})
	return queued, whole, err
}

// socketError takes the error that waits on a socket, if any.
func socketError(conn *net.UDPConn) error {
	return control(conn, func(fd int) error {
		n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && n != 0 {
			err = syscall.Errno(n)
		}
		return err
	})
}

func control(conn syscall.Conn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}
