package connector

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestEffectByGetIsSentOnce breaks a connection that was used before, after a GET that
// deletes came. The transport sends a GET again by itself, on another connection,
// unless it is told not to.
func TestEffectByGetIsSentOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var deleted atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if len(req.TransferEncoding) > 0 || req.ContentLength > 0 && req.Method == http.MethodGet {
						t.Errorf("%s %s has a body", req.Method, req.URL)
					}
					body := `{"status":"success","token":"t","data":[]}`
					if strings.Contains(req.URL.Path, "/queryresult/") && deleted.Add(1) > 1 {
						return // the second one, after the connection has proved good
					}
					if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
						"42\r\n\r\n" + body)); err != nil {
						return
					}
				}
			}()
		}
	}()
	c := newClient(t, "http://"+listener.Addr().String(), func(o *Options) { o.BasePath = "/api/v1" })
	if err := c.V0.DeleteResultsOlder(t.Context(), 7, PurgeOldData); err != nil {
		t.Fatal(err)
	}
	if err := c.V0.DeleteResultsOlder(t.Context(), 7, PurgeOldData); !errors.Is(err, ErrUncertain) {
		t.Errorf("got %v", err)
	}
	if n := deleted.Load(); n != 2 {
		t.Errorf("sent %d times", n)
	}
}
