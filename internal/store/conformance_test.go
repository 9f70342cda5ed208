package store_test

import (
	"context"
	"testing"

	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/internal/store/storetest"
)

func TestSQLiteKeepsThePromises(t *testing.T) {
	storetest.Run(t, func(t *testing.T, o store.Options) storetest.Backend {
		t.Helper()
		s, err := store.Open(t.Context(), t.TempDir(), o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		t.Cleanup(func() {
			if err := s.Check(ctx); err != nil {
				t.Error(err)
			}
			stop()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		return s
	})
}
