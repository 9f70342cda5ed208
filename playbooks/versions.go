package playbooks

import "slices"

// maxOldVersions bounds the versions that are kept in memory although they are not in
// force any more. A run that began with another one reads it from the journal.
const maxOldVersions = 64

// versions are the playbooks that an engine has in memory, by their hashes. Under a
// folder that changes all the time, they do not grow.
type versions struct {
	inForce map[string]*Playbook
	old     []*Playbook     // of earlier sets, or read for a run; the one asked for last is the last
	stored  map[string]bool // of those in force: the journal has them
}

// replace puts another set in force.
func (v *versions) replace(set *Set) {
	before, stored := v.inForce, v.stored
	v.inForce, v.stored = make(map[string]*Playbook, len(set.playbooks)), map[string]bool{}
	for _, pb := range set.playbooks {
		v.inForce[pb.Hash], v.stored[pb.Hash] = pb, stored[pb.Hash]
	}
	v.old = slices.DeleteFunc(v.old, func(pb *Playbook) bool { return v.inForce[pb.Hash] != nil })
	for _, hash := range sortedNames(before) {
		if v.inForce[hash] == nil {
			v.add(before[hash])
		}
	}
}

// find returns nil for a version that is not in memory.
func (v *versions) find(hash string) *Playbook {
	if pb := v.inForce[hash]; pb != nil {
		return pb
	}
	i := slices.IndexFunc(v.old, func(pb *Playbook) bool { return pb.Hash == hash })
	if i < 0 {
		return nil
	}
	pb := v.old[i]
	v.old = append(slices.Delete(v.old, i, i+1), pb)
	return pb
}

// add keeps a version that is not in force, in place of the one that nobody has asked
// for the longest time.
func (v *versions) add(pb *Playbook) {
	if v.find(pb.Hash) != nil {
		return
	}
	if len(v.old) >= maxOldVersions {
		v.old = slices.Delete(v.old, 0, len(v.old)-maxOldVersions+1)
	}
	v.old = append(v.old, pb)
}

// keep notes that the journal has a version. Of one that is no longer in force,
// nobody asks.
func (v *versions) keep(hash string) {
	if v.inForce[hash] != nil {
		v.stored[hash] = true
	}
}
