package catalogue

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSections reads every file, which checks it, and holds the list against what
// the guides count: 156 calls of v1, 71 of v0, three websockets.
func TestSections(t *testing.T) {
	count := map[string]int{}
	ids := map[string]bool{}
	for _, s := range Sections() {
		for i := range s.Calls {
			c := &s.Calls[i]
			if ids[c.ID] {
				t.Errorf("%s stands twice", c.ID)
			}
			ids[c.ID] = true
			if Find(c.ID) != c {
				t.Errorf("Find(%q) finds something else", c.ID)
			}
			count[c.Group()]++
		}
	}
	want := map[string]int{"v1": 156, "v0": 71, "websockets": 3, "release 2.x": 8}
	for group, n := range want {
		if count[group] != n {
			t.Errorf("%s: %d calls, want %d", group, count[group], n)
		}
	}
	if Find("nothing") != nil {
		t.Error("Find found what is not there")
	}
	names, _ := filepath.Glob("*.yaml")
	for _, name := range names {
		if !slices.Contains(order, strings.TrimSuffix(name, ".yaml")) {
			t.Errorf("%s is not read", name)
		}
	}
	if len(names) != len(order) {
		t.Errorf("%d files, %d sections", len(names), len(order))
	}
}

func TestCheckFindsMistakes(t *testing.T) {
	good := Call{ID: "x", Summary: "x", Method: "GET", Path: "/x/{a}", Base: V1, Since: "4.0", Effect: Reads, Answer: "json",
		Params: []Param{{Name: "a", In: "path", Type: "int"}}, Client: []string{"X.Y"}}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Call){
		"method":           func(c *Call) { c.Method = "FETCH" },
		"effect":           func(c *Call) { c.Effect = "some" },
		"summary":          func(c *Call) { c.Summary = "" },
		"not in the path":  func(c *Call) { c.Path = "/x/{b}" },
		"among the argume": func(c *Call) { c.Path = "/x/{a}/{b}" },
		"stands twice":     func(c *Call) { c.Params = append(c.Params, c.Params[0]) },
		"type of a":        func(c *Call) { c.Params = []Param{{Name: "a", In: "path", Type: "text"}} },
	} {
		bad := good
		spoil(&bad)
		if err := bad.check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAvailability(t *testing.T) {
	for id, want := range map[string]string{
		"hosts-list": "since 2.1.2", "response-add": "Enterprise only, since 4.0", "configs-all": "2.1.2 to 3.5",
	} {
		if got := Find(id).Availability(); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	if p := Find("hosts-get").Param("node_id"); p == nil || p.In != "path" {
		t.Error("node_id is not in the path of hosts-get")
	}
}
