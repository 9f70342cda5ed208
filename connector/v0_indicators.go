package connector

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// IOCs fetches all indicators, by the name of their list. The examples that the
// server makes up while it has none are among them. None at all is ErrRefused in some
// releases.
// API v0: GET /iocs/ (public source of release 2.1.2, where it is a list of
// indicators, or an object of lists as in v1).
func (s *V0Service) IOCs(ctx context.Context) (set map[string]IOC, err error) {
	set = make(map[string]IOC)
	add := func(name string, v value, values []string) {
		list := set[name]
		list.Type, list.Severity, list.Source = v.at("type").text(), v.at("severity").text(), v.at("intel_type").text()
		list.Values = append(list.Values, values...)
		set[name] = list
	}
	odd := false
	err = s.c.do(ctx, callV0Iocs, nil, data(func(v value) {
		odd = v.raw() != nil && !v.isObject() && !v.isArray()
		for name, list := range v.fields() {
			add(name, list, list.at("values").texts())
		}
		for one := range v.items() {
			add(one.at("threat_name").text(), one, []string{one.at("value").text()})
		}
	}))
	if err == nil && odd {
		err = lacking(callV0Iocs, noList)
	}
	if err != nil {
		return nil, err
	}
	return set, nil
}

// ReplaceIOCs puts a set of lists, by name, in the place of all indicators that were
// uploaded before. It needs the consent ReplaceEverything. The server deletes before
// it writes, so that a refusal, too, is ErrUncertain.
// API v0: POST /iocs/add (public source of release 2.1.2).
func (s *V0Service) ReplaceIOCs(ctx context.Context, set map[string]IOC, consent Consent) error {
	const what = "replace all indicators"
	if err := consent.must(ReplaceEverything, what); err != nil {
		return err
	}
	if len(set) == 0 {
		return fmt.Errorf("%s: %w: the new set is empty", what, ErrInvalid)
	}
	if err := checkIOCs(set); err != nil {
		return err
	}
	lists := map[string]any{}
	for name, one := range set {
		lists[name] = map[string]any{"type": one.Type, "severity": strings.ToUpper(one.Severity), "values": one.Values}
	}
	text, err := json.Marshal(map[string]any{"data": lists})
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrInvalid, err)
	}
	in, err := multipartBody(Upload{Name: "iocs.json", Content: text}, nil)
	if err != nil {
		return err
	}
	return halfway(s.c.do(ctx, callV0IocsAdd, in, nil))
}

// YARA lists the files of YARA rules, sorted.
// API v0: GET /yara/ (public source of release 2.1.2).
func (s *V0Service) YARA(ctx context.Context) (names []string, err error) {
	isList := false
	err = s.c.do(ctx, callV0Yara, nil, func(answer value) {
		isList = answer.at("data").isArray() || !answer.has("data")
		names = answer.at("data").elements()
	})
	if err == nil && !isList {
		err = lacking(callV0Yara, "the answer is not a list of files")
	}
	slices.Sort(names)
	return names, err
}

// AddYARA uploads a file of YARA rules, whose name the server stores in lower case. A
// file of that name is ErrRefused.
// API v0: POST /yara/add (public source of release 2.1.2).
func (s *V0Service) AddYARA(ctx context.Context, file Upload) error {
	name, err := yaraName(file.Name)
	if err != nil {
		return err
	}
	file.Name = name
	in, err := multipartBody(file, nil)
	if err != nil {
		return err
	}
	return s.c.do(ctx, callV0YaraAdd, in, nil)
}
