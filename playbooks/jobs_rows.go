package playbooks

import "maps"

// JobRows are the rows that a host answered with, each with the host and its name; none
// where the action of the job leaves no rows.
func JobRows(l *JobLine) (rows []map[string]any) {
	output, _ := l.Output.(map[string]any)
	list, _ := output["rows"].([]any)
	for _, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			continue
		}
		row := maps.Clone(fields)
		// What a query calls host, it goes on calling so.
		for name, value := range map[string]string{"job_host": l.Host, "job_host_name": l.Name} {
			row[name] = value
		}
		rows = append(rows, row)
	}
	return rows
}
