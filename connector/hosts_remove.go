package connector

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// The states of a host.
const (
	HostActive  = 0
	HostRemoved = 1 // archived: its agent is turned away, and Reactivate brings it back
	HostDeleted = 2 // for good: it is in no list; an agent that is left there enrols as a new host
)

// Deactivate archives a host: it goes out of the lists of active hosts, its agent is
// turned away, and in release 2.1.2 its alerts are out of sight until Reactivate. A
// host that is archived already is no error; one that does not exist is ErrRefused. It
// needs the admin role in release 4.0.
//
// API: PUT /hosts/{node_id}/delete (REST guide 4.0.0, section Hosts).
func (s *HostsService) Deactivate(ctx context.Context, ref string) error {
	return s.change(ctx, callHostsDeactivate, ref)
}

// Reactivate brings an archived host back. A host that is not archived is ErrRefused.
// It needs the admin role in release 4.0.
//
// API: PUT /hosts/{node_id}/enable (REST guide 4.0.0, section Hosts).
func (s *HostsService) Reactivate(ctx context.Context, ref string) error {
	return s.change(ctx, callHostsReactivate, ref)
}

// Delete deletes a host for good, whatever its state, and takes its alerts out of
// sight; consent must be DeleteForGood. It needs the admin role in release 4.0.
//
// API: DELETE /hosts/{node_id}/delete (REST guide 4.0.0, section Hosts).
func (s *HostsService) Delete(ctx context.Context, ref string, consent Consent) error {
	if err := consent.must(DeleteForGood, "delete a host"); err != nil {
		return err
	}
	return s.change(ctx, callHostsDelete, ref)
}

func (s *HostsService) change(ctx context.Context, k call, ref string) error {
	k, err := k.with(ref)
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, nil, nil)
}

// DeactivateMany archives hosts, all named by id or all by identifier. Hosts that do
// not exist or are not active are passed over without a word, unless that are all:
// ErrRefused. States tells what became of each. It needs the admin role.
//
// API: PUT /hosts/delete (REST guide 4.0.0, section Hosts), since release 4.0.
func (s *HostsService) DeactivateMany(ctx context.Context, refs []string) error {
	return s.changeMany(ctx, callHostsArchiveBulk, "deactivate hosts", refs)
}

// ReactivateMany brings archived hosts back, all named by id or all by identifier.
// Hosts that are not archived are passed over without a word, unless that are all:
// ErrRefused. States tells what became of each. It needs the admin role.
//
// API: POST /hosts/enable (REST guide 4.0.0, section Hosts), since release 4.0.
func (s *HostsService) ReactivateMany(ctx context.Context, refs []string) error {
	return s.changeMany(ctx, callHostsEnableBulk, "reactivate hosts", refs)
}

// DeleteMany deletes archived hosts for good, all named by id or all by identifier;
// consent must be DeleteForGood. Hosts that are not archived are passed over without a
// word, unless that are all: ErrRefused. Delete takes an active host. States tells
// what became of each. It needs the admin role.
//
// API: DELETE /hosts/delete (REST guide 4.0.0, section Hosts), since release 4.0.
func (s *HostsService) DeleteMany(ctx context.Context, refs []string, consent Consent) error {
	if err := consent.must(DeleteForGood, "delete hosts"); err != nil {
		return err
	}
	return s.changeMany(ctx, callHostsDeleteBulk, "delete hosts", refs)
}

func (s *HostsService) changeMany(ctx context.Context, k call, what string, refs []string) error {
	in, err := hostLists(what, refs)
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, in, nil)
}

// hostLists names hosts by comma lists. Ids and identifiers do not go together: the
// server would take the hosts that are in both lists.
func hostLists(what string, refs []string) (map[string]any, error) {
	joined, err := commaList(what, refs)
	if err != nil {
		return nil, err
	}
	numbers := 0
	for _, ref := range refs {
		argument, err := hostArgument(what, ref)
		if err != nil {
			return nil, err
		}
		if ref != strings.TrimSpace(ref) {
			return nil, fmt.Errorf("%s: %w: %q has blanks at an end", what, ErrInvalid, clip(ref, 128))
		}
		if argument["node_id"] != nil {
			numbers++
		}
	}
	switch numbers {
	case 0:
		return map[string]any{"host_identifiers": joined}, nil
	case len(refs):
		return map[string]any{"node_ids": joined}, nil
	}
	return nil, fmt.Errorf("%s: %w: name all hosts by id or all by identifier", what, ErrInvalid)
}

// States looks up the states of hosts, named by id or identifier: HostActive,
// HostRemoved, or HostDeleted for one that the server does not tell any more, or has
// never known. The calls for many hosts succeed if they did something for one, so this
// is how to see what they did. It reads the whole list of hosts.
func (s *HostsService) States(ctx context.Context, refs ...string) (map[string]int, error) {
	states := make(map[string]int, len(refs))
	for _, ref := range refs {
		if _, err := hostArgument("states of hosts", ref); err != nil {
			return nil, err
		}
		states[ref] = HostDeleted
	}
	for _, state := range []int{HostRemoved, HostActive} {
		for h, err := range s.List(ctx, HostQuery{Enabled: new(state == HostActive), Brief: true, Limit: 1000}) {
			if err != nil {
				return nil, err
			}
			for _, name := range []string{h.Identifier, strconv.FormatInt(h.ID, 10)} {
				if _, wanted := states[name]; wanted {
					states[name] = state
				}
			}
		}
	}
	return states, nil
}
