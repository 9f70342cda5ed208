package connector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// IOCsService is the section "IOCs" of the REST guide: the set of indicators that
// the server compares events with. The server knows no call to add or remove one:
// its only call replaces the whole set. Merge, Remove and Modify read the set, change
// it, write it and read it back; of one Client they wait for each other.
type IOCsService struct {
	c    *Client
	turn turn
}

// IOC is a named list of indicators.
type IOC struct {
	// Type is the event column that holds such indicators: md5, sha1, sha256,
	// domain_name or remote_address. Others are never compared with.
	Type string
	// Severity is that of the alerts: INFO, LOW, MEDIUM, HIGH or CRITICAL. Release
	// 2.1.2 has WARNING in place of the middle ones, which 4.0 turns into MEDIUM.
	Severity string
	// Values are the indicators, none with a comma.
	Values []string
	// Source is who put the list there, self for the API; it cannot be set.
	Source string
}

// ErrConflict means that a set or a rule was written and is now something else than
// what was written: somebody else changed it at the same time, or the server left
// a part out. Read it and decide.
var ErrConflict = errors.New("what the server has is not what was written")

var (
	iocTypes      = []string{"md5", "sha1", "sha256", "domain_name", "remote_address"}
	iocSeverities = []string{"INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL", "WARNING"}
)

// Get fetches the set, by name. The examples that the server makes up while it has
// no indicators are left out. A list that cannot be read is a *MalformedError; the
// others are returned beside.
// API: GET /iocs (REST guide 4.0.0, "Get IOCs").
func (s *IOCsService) Get(ctx context.Context) (set map[string]IOC, err error) {
	set = make(map[string]IOC)
	var problems []error
	odd := false
	examples := true
	err = s.c.do(ctx, callIocsList, nil, data(func(v value) {
		odd = !v.isObject() && v.raw() != nil
		for name, item := range v.fields() {
			examples = examples && !item.has("intel_type") && strings.HasPrefix(name, "test-intel_")
			list := IOC{
				Type: item.at("type").text(), Severity: item.at("severity").text(), Source: item.at("intel_type").text(),
				Values: item.at("values").texts(),
			}
			if list.Type == "" || list.Severity == "" || len(list.Values) == 0 {
				problems = append(problems, &MalformedError{
					Reason: fmt.Sprintf("list %q lacks its type, severity or values", clip(oneLine(name), 80)), Raw: clipBytes(item.raw(), maxMalformed),
				})
				continue
			}
			set[name] = list
		}
	}))
	switch {
	case err != nil:
		return nil, err
	case odd:
		return nil, lacking(callIocsList, "the answer is not an object of lists")
	case examples:
		return map[string]IOC{}, nil
	}
	return set, errors.Join(problems...)
}

// Replace puts a set in the place of all indicators on the server, whoever put them
// there, and reads it back. It needs the consent ReplaceEverything, and the admin
// role in release 4.0. An empty set is ErrInvalid, because release 4.0 takes it and
// 2.1.2 only says so: use Remove. For ErrConflict see there. The server deletes
// before it writes; an error wrapping ErrUncertain means that the set may be
// whole, cut or gone, or that it could not be read back.
// API: POST /iocs/add (REST guide 4.0.0, "Add IOCs"; observed on release 2.1.2).
func (s *IOCsService) Replace(ctx context.Context, set map[string]IOC, consent Consent) error {
	if err := consent.must(ReplaceEverything, "replace all indicators"); err != nil {
		return err
	}
	if len(set) == 0 {
		return fmt.Errorf("replace all indicators: %w: the new set is empty", ErrInvalid)
	}
	if err := checkIOCs(set); err != nil {
		return err
	}
	release, err := s.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	tidy := maps.Clone(set)
	for name, list := range tidy {
		list.Values = union(nil, list.Values)
		tidy[name] = list
	}
	return s.write(ctx, tidy, true)
}

// Merge adds lists and values to the set. A list of the same name keeps its values
// and gets the new ones; its severity becomes the new one; another type is
// ErrInvalid. Nothing is written if nothing is new.
//
// The server cannot do this in one step. What somebody else writes between our read
// and our write, some milliseconds apart, is lost, and no call tells. What somebody
// else overwrites of ours is ErrConflict. A set that cannot be read as a whole is
// not touched. For ErrUncertain see Replace. It needs the admin role in release 4.0.
// API: GET /iocs, POST /iocs/add.
func (s *IOCsService) Merge(ctx context.Context, add map[string]IOC) error {
	if len(add) == 0 {
		return fmt.Errorf("merge indicators: %w: there are none", ErrInvalid)
	}
	if err := checkIOCs(add); err != nil {
		return err
	}
	release, err := s.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	before, err := s.Get(ctx)
	if err != nil {
		return fmt.Errorf("merge indicators: read the set, which is unchanged: %w", err)
	}
	merged := maps.Clone(before)
	for name, list := range add {
		old, known := before[name]
		if known && old.Type != list.Type {
			return fmt.Errorf("merge indicators: %w: list %q is of type %q on the server, not %q",
				ErrInvalid, clip(name, 80), clip(old.Type, 40), list.Type)
		}
		list.Values = union(old.Values, list.Values)
		merged[name] = list
	}
	if len(missingIOCs(merged, before)) == 0 {
		return nil
	}
	return s.write(ctx, merged, false)
}

// Remove takes lists out of the set. A name that is not there is ErrNotFound, and
// then nothing is removed. It needs the consent DeleteForGood, and the admin role in
// release 4.0. Release 2.1.2 cannot lose its last list: ErrUnavailable. As to others
// who write at the same time see Merge.
// API: GET /iocs, POST /iocs/add.
func (s *IOCsService) Remove(ctx context.Context, consent Consent, names ...string) error {
	if err := consent.must(DeleteForGood, "remove indicators"); err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("remove indicators: %w: no name", ErrInvalid)
	}
	release, err := s.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	left, err := s.Get(ctx)
	if err != nil {
		return fmt.Errorf("remove indicators: read the set, which is unchanged: %w", err)
	}
	for _, name := range names {
		if _, known := left[name]; !known {
			return fmt.Errorf("remove indicators: list %q: %w", clip(name, 80), ErrNotFound)
		}
	}
	for _, name := range names {
		delete(left, name)
	}
	err = s.write(ctx, left, true)
	if errors.Is(err, ErrConflict) && len(left) == 0 {
		return fmt.Errorf("remove indicators: %w: it takes an empty set and keeps the old one (%w)", ErrUnavailable, err)
	}
	return err
}

// Modify reads the set, lets change alter it, writes all of it, and reads it back. What
// change leaves alone stays as it is, and nothing is written if it alters nothing. An
// error of change ends it before anything is written. Since change may take away what
// is there, Modify needs the consent ReplaceEverything, and the admin role in release
// 4.0. Release 2.1.2 cannot lose its last list: ErrUnavailable. As to others who write
// at the same time, and to ErrConflict and ErrUncertain, see Merge.
// API: GET /iocs, POST /iocs/add.
func (s *IOCsService) Modify(ctx context.Context, consent Consent, change func(set map[string]IOC) error) error {
	if err := consent.must(ReplaceEverything, "modify indicators"); err != nil {
		return err
	}
	release, err := s.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	before, err := s.Get(ctx)
	if err != nil {
		return fmt.Errorf("modify indicators: read the set, which is unchanged: %w", err)
	}
	set := maps.Clone(before)
	for name, list := range set {
		list.Values = slices.Clone(list.Values)
		set[name] = list
	}
	if err := change(set); err != nil {
		return err
	}
	changed := changedIOCs(set, before)
	if err := checkIOCs(changed); err != nil {
		return err
	}
	for name, list := range changed {
		list.Values = union(nil, list.Values)
		set[name] = list
	}
	if len(missingIOCs(set, before))+len(missingIOCs(before, set)) == 0 {
		return nil
	}
	err = s.write(ctx, set, true)
	if errors.Is(err, ErrConflict) && len(set) == 0 {
		return fmt.Errorf("modify indicators: %w: it takes an empty set and keeps the old one (%w)", ErrUnavailable, err)
	}
	return err
}

// changedIOCs are the lists that are not as they were: somebody else may have made the
// others by other means.
func changedIOCs(set, before map[string]IOC) map[string]IOC {
	changed := make(map[string]IOC)
	for name, list := range set {
		if old, ok := before[name]; !ok || old.Type != list.Type || old.Severity != list.Severity || !slices.Equal(old.Values, list.Values) {
			changed[name] = list
		}
	}
	return changed
}

// write writes a set and reads it back. Where the answer was lost, what is read
// decides. exact says that nothing else may be there.
func (s *IOCsService) write(ctx context.Context, set map[string]IOC, exact bool) error {
	in := make(map[string]any, len(set))
	for name, list := range set {
		in[name] = map[string]any{
			"type": list.Type, "severity": strings.ToUpper(list.Severity), "values": strings.Join(list.Values, ","),
		}
	}
	// The server deletes first and says failure when it stumbles over an entry.
	err := halfway(s.c.do(ctx, callIocsReplace, map[string]any{"data": in}, nil))
	if err != nil && !errors.Is(err, ErrUncertain) {
		return err
	}
	now, readErr := s.Get(ctx)
	if readErr != nil {
		return unread("indicators", err, readErr)
	}
	problems := missingIOCs(set, now)
	if exact {
		problems = append(problems, missingIOCs(now, set)...)
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	names := strings.Join(slices.Compact(problems), ", ")
	return errors.Join(err, fmt.Errorf("indicators: %w: lists %s", ErrConflict, clip(oneLine(names), 256)))
}

// missingIOCs names the lists of want that have is without, in whole or in part.
func missingIOCs(want, have map[string]IOC) (names []string) {
	for name, list := range want {
		there, ok := have[name]
		lacks := func(text string) bool { return !slices.Contains(there.Values, text) }
		if !ok || there.Type != list.Type || sameSeverity(there.Severity) != sameSeverity(list.Severity) || slices.ContainsFunc(list.Values, lacks) {
			names = append(names, name)
		}
	}
	return names
}

// sameSeverity makes one word of two: release 4.0 stores WARNING as MEDIUM.
func sameSeverity(severity string) string {
	severity = strings.ToUpper(severity)
	if severity == "WARNING" {
		return "MEDIUM"
	}
	return severity
}

// union adds what is new to a list, without the blanks around it.
func union(old, more []string) []string {
	all := slices.Clone(old)
	for _, text := range more {
		if text = strings.TrimSpace(text); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// checkIOCs refuses what the server would leave out, or take for something else,
// and say success.
func checkIOCs(set map[string]IOC) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(set)) {
		list := set[name]
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("indicators: list %q: %w: %s", clip(name, 80), ErrInvalid, fmt.Sprintf(format, args...)))
		}
		if strings.TrimSpace(name) == "" {
			problem("it has no name")
		}
		if !slices.Contains(iocTypes, list.Type) {
			problem("type %q is none of %s", clip(list.Type, 40), strings.Join(iocTypes, ", "))
		}
		if !slices.Contains(iocSeverities, strings.ToUpper(list.Severity)) {
			problem("severity %q is none of %s", clip(list.Severity, 40), strings.Join(iocSeverities, ", "))
		}
		if len(list.Values) == 0 {
			problem("it has no values")
		}
		for _, text := range list.Values {
			if strings.TrimSpace(text) == "" || strings.ContainsAny(text, ",\r\n") {
				problem("value %q is empty, or has a comma or a line end", clip(text, 80))
			}
		}
	}
	return errors.Join(problems...)
}
