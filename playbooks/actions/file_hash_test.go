package actions

import (
	"errors"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

func TestFileHash(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	hash := func(path string) (playbooks.Outcome, error) {
		return b.actions["file.hash"].Do(t.Context(), call("hash", alert, object{"host": h.Identifier, "path": path}))
	}
	out, err := hash(evil)
	if err != nil {
		t.Fatal(err)
	}
	got := out.Output.(FileHashOutput)
	if out.State != soar.StepExecuted || out.Target != h.Identifier || !strings.EqualFold(got.Path, evil) || got.Size == 0 ||
		len(got.MD5) != 32 || len(got.SHA1) != 40 || len(got.SHA256) != 64 {
		t.Errorf("outcome %+v", out)
	}
	for _, path := range []string{`C:\no such file`, `x' or '1'='1`, "'; drop table file; --", `C:\%`, "a\nb"} {
		if _, err := hash(path); !errors.Is(err, soar.ErrNotFound) || errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), "there is no file") {
			t.Errorf("%q: %v", path, err)
		}
	}
	b.sim.SetOnline(h.Identifier, false)
	if _, err := hash(evil); !errors.Is(err, playbooks.ErrTransient) || errors.Is(err, soar.ErrNotFound) {
		t.Errorf("a host that is offline: %v", err)
	}
	b.sim.SetOnline(h.Identifier, true)
	b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: "distributed-add"})
	if _, err := hash(evil); !errors.Is(err, playbooks.ErrTransient) || errors.Is(err, soar.ErrNotFound) {
		t.Errorf("a server in trouble: %v", err)
	}
}
