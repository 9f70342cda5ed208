package actions

import (
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

func TestHostList(t *testing.T) {
	for _, profile := range []string{"4.0", "2.1.2"} {
		b := newBench(t, ersim.Options{Profile: profile, Hosts: 12})
		fleet := b.sim.Hosts()
		b.sim.SetOnline(fleet[0].Identifier, false)
		b.sim.SetTags(fleet[1].Identifier, "vip", "it's")
		if err := b.deps.Client.Hosts.Deactivate(t.Context(), fleet[2].Identifier); err != nil {
			t.Fatal(err)
		}
		named := func(want func(h ersim.HostState) bool) []string {
			names := []string{}
			for _, h := range fleet {
				if want(h) {
					names = append(names, h.Name)
				}
			}
			return names
		}
		active := func(h ersim.HostState) bool { return h.ID != fleet[2].ID }
		for _, tt := range []struct {
			name string
			with object
			want []string
		}{
			{"all", object{}, named(active)},
			{"removed", object{"state": "removed"}, []string{fleet[2].Name}},
			{"offline", object{"state": "offline"}, []string{fleet[0].Name}},
			{"online", object{"state": "online"}, named(func(h ersim.HostState) bool { return active(h) && h.ID != fleet[0].ID })},
			{"a platform", object{"platform": "darwin"}, named(func(h ersim.HostState) bool { return h.Platform == "darwin" })},
			{"not Windows", object{"platform": "linux"}, named(func(h ersim.HostState) bool { return active(h) && h.Platform == "ubuntu" })},
			{"a tag", object{"tags": []any{"vip"}}, []string{fleet[1].Name}},
			{"one of two tags", object{"tags": []any{"vip", "design"}}, named(func(h ersim.HostState) bool {
				return h.ID == fleet[1].ID || slices.Contains(h.Tags, "design")
			})},
			{"a part of a tag is no tag", object{"tags": []any{"vi"}}, []string{}},
			{"a name", object{"search": strings.ToLower(fleet[3].Name)}, []string{fleet[3].Name}},
			{"hostile", object{"search": "'; drop table node; --\n\"%"}, []string{}},
		} {
			out := b.run("host.list", call("list", soar.Alert{}, tt.with))
			got := []string{}
			for _, h := range out.Output.(HostListOutput).Hosts {
				got = append(got, h.Name)
				if h.Identifier == "" || h.ID == 0 {
					t.Errorf("%s, %s: host %+v", profile, tt.name, h)
				}
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) || out.Output.(HostListOutput).Partial {
				t.Errorf("%s, %s: got %q, want %q: %s", profile, tt.name, got, tt.want, out.Summary)
			}
			if nothing := out.Output.(HostListOutput).FoundNothing(); nothing != (len(tt.want) == 0) {
				t.Errorf("%s, %s: found nothing: %t", profile, tt.name, nothing)
			}
		}
		for limit, partial := range map[float64]bool{3: true, 11: false} {
			out := b.run("host.list", call("list", soar.Alert{}, object{"limit": limit})).Output.(HostListOutput)
			if len(out.Hosts) != int(limit) || out.Partial != partial {
				t.Errorf("%s, limit %v: %d hosts, partial %t", profile, limit, len(out.Hosts), out.Partial)
			}
		}
	}
}

func TestHostListRefuses(t *testing.T) {
	b := newBench(t, ersim.Options{})
	for _, with := range []object{{"limit": 0.0}, {"limit": 1001.0}, {"tags": []any{"a,b"}}, {"state": "gone"}, {"platform": "os2"}, {"search": "a\x00"}} {
		if _, err := b.actions["host.list"].Do(t.Context(), call("list", soar.Alert{}, with)); err == nil {
			t.Errorf("%v was taken", with)
		}
	}
	if n := b.sim.Calls()["hosts-list"]; n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
}
