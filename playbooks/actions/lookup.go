package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/connector"
)

const (
	lookUpPage = 100
	// maxLookedUp bounds how many rows a look-up reads; since is minutes ago.
	maxLookedUp = 5000
)

// errIncomplete means that a look-up has not seen all rows that it should have.
// What it did not find may be there all the same.
var errIncomplete = errors.New("the server's list could not be read completely")

// rowsSince reads the rows of a list that were created at or after since. The
// engine takes a call that is not among them for one that never arrived, and sends
// it again, so they are all of them, or there is an error.
//
// The server lists the newest first. That is not taken for granted: only after a
// page in that order does the reading stop at an older row. Nor are its counts and
// its page size: pages overlap by one row, and the list is over when that row is
// all there is. A page that does not begin with it tells of rows that were deleted
// meanwhile, so that others have moved to the page before; one that brings nothing
// new, of a server that ignores where to start.
func rowsSince[T any](ctx context.Context, since time.Time, fetch func(ctx context.Context, start, limit int) (connector.Page[T], error),
	key func(T) (id string, created time.Time)) ([]T, error) {
	var found []T
	seen := map[string]bool{}
	for start := 0; start < maxLookedUp; {
		page, err := fetch(ctx, start, lookUpPage)
		if err != nil {
			return nil, err
		}
		if len(page.Malformed) > 0 {
			return nil, fmt.Errorf("%w: %w", errIncomplete, page.Malformed[0])
		}
		fresh, ordered, last := 0, true, time.Time{}
		for i, row := range page.Results {
			id, created := key(row)
			if start > 0 && i == 0 && !seen[id] {
				return nil, fmt.Errorf("%w: rows were deleted meanwhile", errIncomplete)
			}
			if created.IsZero() {
				return nil, fmt.Errorf("%w: row %s does not tell when it was created", errIncomplete, id)
			}
			ordered = ordered && (i == 0 || !created.After(last))
			last = created
			if seen[id] {
				continue
			}
			seen[id] = true
			fresh++
			if !created.Before(since) {
				found = append(found, row)
			}
		}
		n := len(page.Results)
		switch {
		case start == 0 && n <= 1 && page.Count <= n, start > 0 && n == 1:
			return found, nil
		case n > 1 && ordered && last.Before(since):
			return found, nil
		case n <= 1 || fresh == 0:
			return nil, fmt.Errorf("%w: it shows %d rows and says that it has %d", errIncomplete, len(seen), page.Count)
		}
		start += n - 1
	}
	return nil, fmt.Errorf("%w: more than %d rows since %s", errIncomplete, maxLookedUp, since.UTC().Format(time.RFC3339))
}
