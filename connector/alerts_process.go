package connector

import (
	"context"
	"fmt"
	"time"
)

// ProcessQuery names a process of an alert.
type ProcessQuery struct {
	GUID    string // process_guid
	NodeID  int64
	AlertID string // may be empty
}

// ProcessTree is a process with what it did. Windows hosts only.
type ProcessTree struct {
	Name     string
	Path     string
	NodeType string
	Data     map[string]string
	Groups   []ProcessGroup
}

// ProcessGroup are the events of one action of a process.
type ProcessGroup struct {
	Action   string
	Name     string
	NodeType string
	GUID     string
	Count    int
	Fetched  bool
	LastTime time.Time
	Children []ProcessEvent
}

// ProcessEvent is one thing that a process did.
type ProcessEvent struct {
	Name     string
	HasChild bool
	Data     map[string]string
}

// ProcessTree fetches the process tree of an alert. Enterprise only. ErrNotFound if
// the answer is empty; one without the list of what the process did is ErrNotJSON.
// API: POST /alerts/process (REST guide 4.0.0, "Get process tree").
func (s *AlertsService) ProcessTree(ctx context.Context, q ProcessQuery) (tree ProcessTree, err error) {
	if q.GUID == "" || q.NodeID == 0 {
		return tree, fmt.Errorf("process tree: %w: process GUID and node id are needed", ErrInvalid)
	}
	in := map[string]any{"process_guid": q.GUID, "node_id": q.NodeID}
	set(in, "alert_id", q.AlertID)
	empty, told := false, false
	err = s.c.do(ctx, callAlertsProcess, in, data(func(v value) {
		empty, told = v.raw() == nil, v.at("all_children").isArray()
		tree = ProcessTree{
			Name:     v.at("name").text(),
			Path:     v.at("path").text(),
			NodeType: v.at("node_type").text(),
			Data:     v.at("data").columns(),
		}
		for group := range v.at("all_children").items() {
			tree.Groups = append(tree.Groups, processGroup(group))
		}
	}))
	switch {
	case err == nil && empty:
		err = missing(callAlertsProcess)
	case err == nil && !told:
		err = lacking(callAlertsProcess, noList)
	}
	return tree, err
}

func processGroup(v value) ProcessGroup {
	g := ProcessGroup{
		Action:   v.at("action").text(),
		Name:     v.at("name").text(),
		NodeType: v.at("node_type").text(),
		GUID:     v.at("process_guid").text(),
		Count:    v.at("count").count(),
		Fetched:  v.at("fetched").truth(),
		LastTime: v.at("last_time").time(),
		Children: processEvents(v.at("children")),
	}
	// Both hold the same rows; the second is complete where they differ.
	if all := processEvents(v.at("all_children")); len(all) > len(g.Children) {
		g.Children = all
	}
	return g
}

func processEvents(v value) (list []ProcessEvent) {
	for event := range v.items() {
		if event.isObject() {
			list = append(list, ProcessEvent{
				Name:     event.at("name").text(),
				HasChild: event.at("has_child").truth(),
				Data:     event.at("data").columns(),
			})
		}
	}
	return list
}

// ChildQuery asks for the events of one action of a process.
type ChildQuery struct {
	GUID   string
	Action string // PROC_CREATE, FILE_WRITE, ...
	NodeID int64
	// After pages forward: the LastTime of the answer before. Zero for the first.
	After time.Time
}

// ProcessChildren are events of one action of a process.
type ProcessChildren struct {
	Events   []ProcessEvent
	LastTime time.Time // zero when there is no more
}

// ProcessChildren fetches the events of one action of a process, oldest first, 20
// at a time. Enterprise only. An answer without a list of them is ErrNotJSON.
// API: POST /alerts/process/child (REST guide 4.0.0, "Get child processes").
func (s *AlertsService) ProcessChildren(ctx context.Context, q ChildQuery) (children ProcessChildren, err error) {
	if q.GUID == "" || q.NodeID == 0 || q.Action == "" {
		return children, fmt.Errorf("process children: %w: process GUID, action and node id are needed", ErrInvalid)
	}
	in := map[string]any{"process_guid": q.GUID, "action": q.Action, "node_id": q.NodeID}
	if !q.After.IsZero() {
		in["last_time"] = q.After.Unix()
	}
	told := false
	err = s.c.do(ctx, callAlertsProcessChild, in, data(func(v value) {
		told = v.at("child_data").isArray()
		children = ProcessChildren{Events: processEvents(v.at("child_data")), LastTime: v.at("last_time").time()}
	}))
	if err == nil && !told {
		err = lacking(callAlertsProcessChild, noList)
	}
	return children, err
}
