package connector_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// Variables that make the test binary one of the two processes of BenchmarkWalk.
// The client has one of its own, so that its memory is nobody else's.
const (
	walkServerEnv = "ERBRIDGE_WALK_SERVER" // hosts,alerts
	walkClientEnv = "ERBRIDGE_WALK_CLIENT" // URL,CA file,list
)

const (
	walkHosts  = 100_000
	walkAlerts = 1_000_000
)

func TestMain(m *testing.M) {
	var err error
	switch server, client := os.Getenv(walkServerEnv), os.Getenv(walkClientEnv); {
	case server != "":
		err = serveWalk(server)
	case client != "":
		err = walk(context.Background(), client)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveWalk runs a simulator until standard input ends.
func serveWalk(what string) error {
	var hosts, alerts int
	if _, err := fmt.Sscanf(what, "%d,%d", &hosts, &alerts); err != nil {
		return err
	}
	server, err := ersim.New(ersim.Options{Seed: 1, Hosts: hosts, AggregationWindow: -1})
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	if err := server.RaiseLoad(ersim.AlertSpec{}, alerts, 0); err != nil {
		return err
	}
	caFile := filepath.Join(os.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, server.CAPEM(), 0o600); err != nil {
		return err
	}
	fmt.Println(server.URL() + "," + caFile)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the benchmark, however that ends
		stop()
	}()
	return server.Run(ctx)
}

// walk walks through one list and prints rows, seconds and the bytes of memory that
// the process had of the system, which it never gives back.
func walk(ctx context.Context, what string) error {
	parts := strings.Split(what, ",")
	c, err := connector.New(connector.Options{
		URL: parts[0], CAFile: parts[1], Username: "admin", Password: soar.SecretValue("admin"), Timeout: time.Minute,
	})
	if err != nil {
		return err
	}
	if err := c.Login(ctx); err != nil {
		return err
	}
	start, rows := time.Now(), 0
	switch parts[2] {
	case "hosts":
		for _, err := range c.Hosts.List(ctx, connector.HostQuery{Limit: 1000}) {
			if err != nil {
				return err
			}
			rows++
		}
	default:
		for _, err := range c.Alerts.List(ctx, connector.AlertQuery{Limit: 1000}) {
			if err != nil {
				return err
			}
			rows++
		}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	fmt.Println(rows, time.Since(start).Seconds(), memory.Sys)
	return nil
}

// BenchmarkWalk walks through all hosts and all alerts of a large server and tells
// the rate and how much memory the client took for it.
func BenchmarkWalk(b *testing.B) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	server := exec.CommandContext(context.WithoutCancel(b.Context()), exe) // ends with its input
	server.Env = append(os.Environ(), walkServerEnv+"="+fmt.Sprintf("%d,%d", walkHosts, walkAlerts), "TMPDIR="+b.TempDir())
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close() // tells it to end
		if err := server.Wait(); err != nil {
			b.Errorf("simulator: %v", err)
		}
	})
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	for _, of := range []struct {
		list string
		rows int
	}{{"hosts", walkHosts}, {"alerts", walkAlerts}} {
		b.Run(of.list+"="+strconv.Itoa(of.rows), func(b *testing.B) {
			var rate, most float64
			for range b.N {
				cmd := exec.CommandContext(b.Context(), exe)
				cmd.Env = append(os.Environ(), walkClientEnv+"="+strings.TrimSpace(address)+","+of.list)
				cmd.Stderr = os.Stderr
				out, err := cmd.Output()
				if err != nil {
					b.Fatal(err)
				}
				var rows int
				var seconds, size float64
				if _, err := fmt.Sscan(string(out), &rows, &seconds, &size); err != nil || rows != of.rows {
					b.Fatalf("%q: %d rows of %d, %v", out, rows, of.rows, err)
				}
				rate, most = float64(rows)/seconds, max(most, size/(1<<20))
			}
			b.ReportMetric(rate, "rows/s")
			b.ReportMetric(most, "memory-MiB")
		})
	}
}
