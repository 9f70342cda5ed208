// Command crashloop shows that nothing is lost and nothing is done twice when the
// daemon dies: it raises alerts on a simulated server while it kills erbridge
// with SIGKILL at random moments, starts it again each time, and compares at the
// end what the server, the store and the sinks have.
//
//	go run ./scripts/crashloop -erbridge bin/erbridge -kills 200 -alerts 5000
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

// options are the flags.
type options struct {
	erbridge string
	example  string
	kills    int
	alerts   int
	seed     uint64
	settle   time.Duration
	keep     bool
}

func main() {
	var o options
	flag.StringVar(&o.erbridge, "erbridge", "bin/erbridge", "the program to kill")
	flag.StringVar(&o.example, "example", "config.example.yaml", "the configuration to derive its own from")
	flag.IntVar(&o.kills, "kills", 15, "how often to kill it")
	flag.IntVar(&o.alerts, "alerts", 600, "how many alerts to raise meanwhile; every second one has an action")
	flag.Uint64Var(&o.seed, "seed", 0, "decides the moments; 0 takes one from the clock")
	flag.DurationVar(&o.settle, "settle", 4*time.Minute, "how long the last daemon may take to finish what is open")
	flag.BoolVar(&o.keep, "keep", false, "leave the folder with store, logs and sinks behind")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "crashloop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	dir, err := os.MkdirTemp("", "erbridge-crash-")
	if err != nil {
		return err
	}
	fmt.Printf("crashloop: %d kills, %d alerts, seed %d, folder %s\n", o.kills, o.alerts, o.seed, dir)
	defer func() {
		if err != nil || o.keep {
			fmt.Fprintln(os.Stderr, "crashloop: kept for a look:", dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	if o.erbridge, err = filepath.Abs(o.erbridge); err != nil {
		return err
	}
	r := &rig{options: o, dir: dir, random: rand.New(rand.NewPCG(o.seed, 1))}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := r.killAtRandom(ctx); err != nil {
		return err
	}
	killing := time.Since(began)
	if err := r.finish(ctx); err != nil {
		return err
	}
	figures, problems := r.compare(ctx)
	fmt.Print(figures)
	fmt.Printf("  time                   %s of killing, %s to finish\n", killing.Round(time.Second), (time.Since(began) - killing).Round(time.Second))
	if problems != nil {
		return problems
	}
	fmt.Println("crashloop: nothing lost, nothing done twice, no outcome missing")
	return nil
}
