package jq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// Programs that run at the same moment do not use up each other's time.
func TestCrowd(t *testing.T) {
	size, programs := 1500, 1000 // in sum, far above the time of one
	if raceEnabled {             // which makes each ten times as long
		size, programs = 200, 500
	}
	p, err := Compile(fmt.Sprintf(`[range(%d)] | map(. * 2 + 1) | add`, size))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, programs)
	for i := range errs {
		wg.Go(func() { _, errs[i] = p.Value(t.Context(), nil) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("program %d: %v", i, err)
		}
	}
}

var errCrowded = errors.New("the caller gave up")

// Who waits for a turn gives up with its caller.
func TestCrowdCancelled(t *testing.T) {
	p, err := Compile(`[range(10)] | add`)
	if err != nil {
		t.Fatal(err)
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Value(ctx, nil)
		ended <- err
	}()
	cancel(errCrowded)
	err = <-ended
	for range cap(slots) {
		<-slots
	}
	if !errors.Is(err, errCrowded) {
		t.Errorf("found %v", err)
	}
	if v, err := p.Value(t.Context(), nil); err != nil || v != 45.0 {
		t.Errorf("afterwards: %v, %v", v, err)
	}
}
