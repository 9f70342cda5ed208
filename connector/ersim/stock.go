package ersim

// stockQuery is a scheduled query that a new server has.
type stockQuery struct {
	name        string
	sql         string
	interval    int64 // seconds
	description string
}

// stockConfig is a config that a new server has.
type stockConfig struct {
	platform    string
	name        string
	description string
	filters     obj
	queries     []stockQuery
}

const (
	hourly = 3600
	daily  = 86400
)

// Queries that several platforms have.
var (
	arpCache       = stockQuery{"arp_cache", "select * from arp_cache;", daily, "Address resolution cache, both static and dynamic"}
	chromeExts     = stockQuery{"chrome_extensions", "select * from users join chrome_extensions using (uid);", daily, "Extensions of Chrome by user"}
	etcHosts       = stockQuery{"etc_hosts", "select * from etc_hosts;", daily, "Lines of the hosts file"}
	kernelInfo     = stockQuery{"kernel_info", "select * from kernel_info;", daily, "The running kernel and its arguments"}
	listeningPorts = stockQuery{"listening_ports", "select * from listening_ports;", hourly, "Processes that listen on network ports"}
	loggedIn       = stockQuery{"logged_in_users", "select * from logged_in_users;", hourly, "Users with an open session"}
	mounts         = stockQuery{"mounts", "select * from mounts;", daily, "Mounted file systems"}
	osVersion      = stockQuery{"os_version", "select * from os_version;", daily, "Name and version of the operating system"}
	osqueryInfo    = stockQuery{"osquery_info", "select * from osquery_info;", daily, "Version and state of the agent"}
	processOpen    = stockQuery{"process_open_sockets", "select * from process_open_sockets;", hourly, "Network sockets of processes"}
	startupItems   = stockQuery{"startup_items", "select * from startup_items;", hourly, "Programs that start at boot or logon"}
	usbDevices     = stockQuery{"usb_devices", "select * from usb_devices;", daily, "Attached USB devices"}
	userList       = stockQuery{"users", "select * from users;", daily, "Local accounts"}
)

var stockConfigs = []stockConfig{
	{
		platform: "linux", name: "Default", description: "Default configuration of linux hosts",
		filters: obj{
			"options":       obj{"custom_plgx_LogLevel": "3", "schedule_splay_percent": 10},
			"events":        obj{"disable_subscribers": []string{"user_events"}},
			"file_paths":    obj{"binaries": []string{"/usr/bin/%%"}, "configuration": []string{"/etc/passwd"}},
			"exclude_paths": obj{"binaries": []string{"/usr/bin/plgx-agent.log"}},
		},
		queries: []stockQuery{
			arpCache, etcHosts, kernelInfo, listeningPorts, loggedIn, mounts, osVersion, processOpen, usbDevices, userList,
			{"crontab", "select * from crontab;", hourly, "Scheduled commands"},
			{"deb_packages", "select * from deb_packages;", daily, "Installed Debian packages"},
		},
	},
	{
		platform: "darwin", name: "Default", description: "Default configuration of darwin hosts",
		filters: obj{
			"options":    obj{"custom_plgx_LogLevel": "3"},
			"file_paths": obj{"binaries": []string{"/usr/bin/%%"}, "configuration": []string{"/etc/%%"}},
		},
		queries: []stockQuery{
			arpCache, chromeExts, etcHosts, listeningPorts, loggedIn, mounts, osVersion, startupItems, usbDevices, userList,
			{"launchd", "select * from launchd;", hourly, "Agents and daemons of launchd"},
		},
	},
	{
		platform: "windows", name: "Default", description: "Default configuration of windows hosts", filters: windowsFilters,
		queries: windowsQueries,
	},
	{
		platform: "windows", name: "Deep", description: "A sample with more queries and filters, to watch the state of hosts",
		filters: windowsFilters, queries: windowsQueries[:4],
	},
}

var windowsFilters = obj{
	"options":           obj{"custom_plgx_LogLevel": "3"},
	"win_include_paths": obj{"all_files": []string{"*"}},
	"plgx_event_filters": obj{"win_ssl_events": obj{"process_name": obj{"exclude": obj{
		"values": []string{`*\Program Files\plgx_osquery\plgx*`},
	}}}},
}

var windowsQueries = []stockQuery{
	arpCache, chromeExts, listeningPorts, loggedIn, osVersion, processOpen, startupItems, userList,
	{"appcompat_shims", "select * from appcompat_shims;", hourly, "Application compatibility shims"},
	{"drivers", "select * from drivers;", daily, "Drivers and whether they are signed"},
	{"patches", "select * from patches;", daily, "Installed updates"},
	{"scheduled_tasks", "select * from scheduled_tasks;", hourly, "Tasks of the task scheduler"},
}

// stockPacks are the packs of a new server.
var stockPacks = []struct {
	name, category string
	queries        []stockQuery
}{
	{"it-compliance", "General", []stockQuery{
		osqueryInfo, kernelInfo, osVersion, mounts,
		{"windows_shared_resources", "select * from shared_resources;", daily, "Shares of the host"},
		chromeExts,
		{"windows_programs", "select * from programs;", daily, "Installed programs"},
		{"windows_patches", "select * from patches;", daily, "Installed updates"},
		usbDevices,
		{"windows_drivers", "select * from drivers;", daily, "Drivers and whether they are signed"},
	}},
	{"incident-response", "Forensics and Incident Response", []stockQuery{
		{"open_sockets", "select distinct pid, family, protocol, local_address, local_port, remote_address, remote_port from process_open_sockets;",
			daily, "Who talks to whom"},
		{"logged_in", "select * from logged_in_users;", hourly, "Users with an open session"},
		{"process_memory", "select * from process_memory_map;", daily, "Files mapped into processes"},
		{"arp", "select * from arp_cache;", hourly, "Neighbours on the network"},
	}},
	{"osquery-monitoring", "Monitoring", []stockQuery{
		{"schedule", "select name, interval, executions, output_size, wall_time from osquery_schedule;", 7200, "What each scheduled query costs"},
		{"events", "select name, publisher, type, subscriptions, events, active from osquery_events;", daily, "Event publishers and subscribers"},
	}},
}

// stockScheduled are the queries of a new server that are in no pack.
var stockScheduled = []stockQuery{
	{"process_query", "select * from processes;", 300, "Running processes"},
	{"system_info", "select * from system_info;", daily, "Hardware of the host"},
	{"uptime", "select * from uptime;", hourly, "Time since the last boot"},
}
