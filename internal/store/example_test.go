package store_test

import (
	"context"
	"fmt"
	"os"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func Example() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, stop := context.WithCancel(context.Background())
	s, err := store.Open(ctx, dir, store.Options{})
	if err != nil {
		panic(err)
	}
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()

	page := []soar.Alert{{Server: "er", ID: "17", Status: soar.StatusOpen}, {Server: "er", ID: "18", Status: soar.StatusOpen}}
	cursor := []soar.Cursor{{Source: "poll", Value: []byte(`{"id":18}`)}}
	for range 2 { // the second time is what happens after a crash
		done, err := s.Commit(ctx, soar.Change{Alerts: page, Cursors: cursor})
		if err != nil {
			panic(err)
		}
		fmt.Println(len(done.New), "new,", done.Known, "known")
	}
	events, err := s.Feed(ctx, 0, 10)
	if err != nil {
		panic(err)
	}
	for _, ev := range events {
		fmt.Println(ev.Pos, ev.ID)
	}
	stop()
	fmt.Println(<-ended, s.Close())
	// Output:
	// 2 new, 0 known
	// 0 new, 2 known
	// 1 alert.received/er-17
	// 2 alert.received/er-18
	// <nil> <nil>
}
