// Code generated from connector/catalogue by make generate; DO NOT EDIT.

package connector

import "net/http"

// The calls of the catalogue, by id.
var (
	// Downloads and dashboard
	callDownloadCertificate = call{id: "download-certificate", method: http.MethodGet, path: "/downloads/certificate.crt", base: baseServer, open: true, releases: "since 3.5"}
	callDownloadCptWindows  = call{id: "download-cpt-windows", method: http.MethodGet, path: "/downloads/windows/plgx_cpt.exe", base: baseServer, open: true, releases: "since 3.5"}
	callDownloadCptLinux    = call{id: "download-cpt-linux", method: http.MethodGet, path: "/downloads/linux/plgx_cpt", base: baseServer, open: true, releases: "since 3.5"}
	callDownloadCptMacos    = call{id: "download-cpt-macos", method: http.MethodGet, path: "/downloads/plgx_cpt.sh", base: baseServer, open: true, releases: "since 3.5"}
	callDashboard           = call{id: "dashboard", method: http.MethodGet, path: "/dashboard"}

	// Authentication
	callAuthIndex       = call{id: "auth-index", method: http.MethodGet, path: "/index", open: true, bare: true, releases: "since 3.5"}
	callAuthLogin       = call{id: "auth-login", method: http.MethodPost, path: "/login", open: true, bare: true}
	callAuthLogout      = call{id: "auth-logout", method: http.MethodPost, path: "/logout", open: true}
	callAuthSsoLogin    = call{id: "auth-sso-login", method: http.MethodGet, path: "/sso/login", open: true, releases: "since 3.5"}
	callAuthSsoCallback = call{id: "auth-sso-callback", method: http.MethodPost, path: "/sso/callback", effect: true, open: true, releases: "since 3.5"}

	// Hosts
	callHostsList              = call{id: "hosts-list", method: http.MethodPost, path: "/hosts"}
	callHostsExportFiltered    = call{id: "hosts-export-filtered", method: http.MethodPost, path: "/hosts/export", releases: "since 4.0"}
	callHostsExportAll         = call{id: "hosts-export-all", method: http.MethodGet, path: "/hosts/export"}
	callHostsGet               = call{id: "hosts-get", method: http.MethodGet, path: "/hosts/{node_id}", byID: true}
	callHostsAlertDistribution = call{id: "hosts-alert-distribution", method: http.MethodGet, path: "/hosts/{node_id}/alerts/distribution", byID: true}
	callHostsCount             = call{id: "hosts-count", method: http.MethodGet, path: "/hosts/count"}
	callHostsAdditionalConfig  = call{id: "hosts-additional-config", method: http.MethodPost, path: "/hosts/additional_config", byID: true}
	callHostsFullConfig        = call{id: "hosts-full-config", method: http.MethodPost, path: "/hosts/config", byID: true}
	callHostsActivityCount     = call{id: "hosts-activity-count", method: http.MethodPost, path: "/hosts/recent_activity/count", byID: true}
	callHostsActivity          = call{id: "hosts-activity", method: http.MethodPost, path: "/hosts/recent_activity"}
	callHostsActivityExport    = call{id: "hosts-activity-export", method: http.MethodPost, path: "/hosts/search/export"}
	callHostsTagsList          = call{id: "hosts-tags-list", method: http.MethodGet, path: "/hosts/{node_id}/tags", byID: true}
	callHostsTagsAdd           = call{id: "hosts-tags-add", method: http.MethodPost, path: "/hosts/{node_id}/tags", effect: true}
	callHostsTagsRemove        = call{id: "hosts-tags-remove", method: http.MethodDelete, path: "/hosts/{node_id}/tags", effect: true}
	callHostsDeactivate        = call{id: "hosts-deactivate", method: http.MethodPut, path: "/hosts/{node_id}/delete", effect: true}
	callHostsReactivate        = call{id: "hosts-reactivate", method: http.MethodPut, path: "/hosts/{node_id}/enable", effect: true}
	callHostsEnableBulk        = call{id: "hosts-enable-bulk", method: http.MethodPost, path: "/hosts/enable", effect: true, releases: "since 4.0"}
	callHostsDeleteBulk        = call{id: "hosts-delete-bulk", method: http.MethodDelete, path: "/hosts/delete", effect: true, releases: "since 4.0"}
	callHostsArchiveBulk       = call{id: "hosts-archive-bulk", method: http.MethodPut, path: "/hosts/delete", effect: true, releases: "since 4.0"}
	callHostsDelete            = call{id: "hosts-delete", method: http.MethodDelete, path: "/hosts/{node_id}/delete", effect: true}
	callHostsStatusLogs        = call{id: "hosts-status-logs", method: http.MethodPost, path: "/hosts/status_logs", byID: true}
	callHostsStatusLogsExport  = call{id: "hosts-status-logs-export", method: http.MethodPost, path: "/hosts/status_log/export", effect: true, releases: "since 3.5"}

	// Alerts
	callAlertsCountBySource       = call{id: "alerts-count-by-source", method: http.MethodGet, path: "/alerts/count_by_source"}
	callAlertsGraph               = call{id: "alerts-graph", method: http.MethodGet, path: "/alerts/graph", enterprise: true, releases: "Enterprise only, since 4.0"}
	callAlertsList                = call{id: "alerts-list", method: http.MethodPost, path: "/alerts"}
	callAlertsUpdate              = call{id: "alerts-update", method: http.MethodPut, path: "/alerts", effect: true}
	callAlertsGet                 = call{id: "alerts-get", method: http.MethodGet, path: "/alerts/{alert_id}", byID: true}
	callAlertsEvents              = call{id: "alerts-events", method: http.MethodGet, path: "/alerts/{alert_id}/events", enterprise: true, releases: "Enterprise only, since 4.0"}
	callAlertsState               = call{id: "alerts-state", method: http.MethodGet, path: "/alerts/{alert_id}/state", enterprise: true, byID: true, releases: "Enterprise only, since 4.0"}
	callAlertsAlertedEvents       = call{id: "alerts-alerted-events", method: http.MethodPost, path: "/alerts/{alert_id}/alerted_events", releases: "since 3.5"}
	callAlertsAlertedEventsExport = call{id: "alerts-alerted-events-export", method: http.MethodGet, path: "/alerts/{alert_id}/alerted_events/export", releases: "since 3.5"}
	callAlertsExport              = call{id: "alerts-export", method: http.MethodPost, path: "/alerts/alert_source/export"}
	callAlertsProcess             = call{id: "alerts-process", method: http.MethodPost, path: "/alerts/process", enterprise: true, releases: "Enterprise only, since 4.0"}
	callAlertsProcessChild        = call{id: "alerts-process-child", method: http.MethodPost, path: "/alerts/process/child", enterprise: true, releases: "Enterprise only, since 4.0"}
	callAlertsNotesList           = call{id: "alerts-notes-list", method: http.MethodGet, path: "/alerts/{alert_id}/analyst/notes", enterprise: true, releases: "Enterprise only, since 4.0"}
	callAlertsNotesAdd            = call{id: "alerts-notes-add", method: http.MethodPost, path: "/alerts/{alert_id}/analyst/notes", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callAlertsNotesUpdate         = call{id: "alerts-notes-update", method: http.MethodPut, path: "/alerts/{alert_id}/analyst/notes", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callAlertsNotesDelete         = call{id: "alerts-notes-delete", method: http.MethodDelete, path: "/alerts/{alert_id}/analyst/notes", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}

	// Carves
	callCarvesList     = call{id: "carves-list", method: http.MethodPost, path: "/carves"}
	callCarvesDownload = call{id: "carves-download", method: http.MethodGet, path: "/carves/download/{session_id}", byID: true}
	callCarvesDelete   = call{id: "carves-delete", method: http.MethodPost, path: "/carves/delete", effect: true}

	// Config
	callConfigsList   = call{id: "configs-list", method: http.MethodGet, path: "/configs", releases: "since 3.5"}
	callConfigsAdd    = call{id: "configs-add", method: http.MethodPost, path: "/configs", effect: true, releases: "since 3.5"}
	callConfigsGet    = call{id: "configs-get", method: http.MethodGet, path: "/configs/{config_id}", byID: true, releases: "since 3.5"}
	callConfigsUpdate = call{id: "configs-update", method: http.MethodPut, path: "/configs/{config_id}", effect: true, releases: "since 3.5"}
	callConfigsDelete = call{id: "configs-delete", method: http.MethodDelete, path: "/configs/{config_id}", effect: true, releases: "since 3.5"}
	callConfigsAssign = call{id: "configs-assign", method: http.MethodPut, path: "/configs/{config_id}/assign", effect: true, releases: "since 3.5"}
	callConfigsHosts  = call{id: "configs-hosts", method: http.MethodGet, path: "/configs/{config_id}/hosts", releases: "since 3.5"}

	// Email
	callEmailTest   = call{id: "email-test", method: http.MethodPost, path: "/email/test", effect: true}
	callEmailGet    = call{id: "email-get", method: http.MethodGet, path: "/email/configure"}
	callEmailUpdate = call{id: "email-update", method: http.MethodPost, path: "/email/configure", effect: true}

	// IOCs
	callIocsList    = call{id: "iocs-list", method: http.MethodGet, path: "/iocs"}
	callIocsReplace = call{id: "iocs-replace", method: http.MethodPost, path: "/iocs/add", effect: true}

	// Management
	callManagementChangepw       = call{id: "management-changepw", method: http.MethodPost, path: "/management/changepw", effect: true}
	callManagementVerifypw       = call{id: "management-verifypw", method: http.MethodPost, path: "/management/verifypw", releases: "since 3.5"}
	callManagementSettingsUpdate = call{id: "management-settings-update", method: http.MethodPut, path: "/management/settings", effect: true}
	callManagementSettingsGet    = call{id: "management-settings-get", method: http.MethodGet, path: "/management/settings"}
	callManagementApikeysGet     = call{id: "management-apikeys-get", method: http.MethodGet, path: "/management/apikeys"}
	callManagementApikeysUpdate  = call{id: "management-apikeys-update", method: http.MethodPost, path: "/management/apikeys", effect: true}
	callManagementAvGet          = call{id: "management-av-get", method: http.MethodGet, path: "/management/virustotal/av_engine"}
	callManagementAvUpdate       = call{id: "management-av-update", method: http.MethodPost, path: "/management/virustotal/av_engine", effect: true}
	callManagementLogLevelGet    = call{id: "management-log-level-get", method: http.MethodGet, path: "/management/log_setting", releases: "since 3.5"}
	callManagementLogLevelUpdate = call{id: "management-log-level-update", method: http.MethodPut, path: "/management/log_setting", effect: true, releases: "since 3.5"}
	callManagementPurge          = call{id: "management-purge", method: http.MethodPost, path: "/management/manual_purge", effect: true, releases: "since 3.5"}
	callManagementLogsList       = call{id: "management-logs-list", method: http.MethodGet, path: "/management/download_log", releases: "since 3.5"}
	callManagementLogsDownload   = call{id: "management-logs-download", method: http.MethodPost, path: "/management/download_log", byID: true, releases: "since 3.5"}
	callManagementMetrics        = call{id: "management-metrics", method: http.MethodPost, path: "/management/metrics", releases: "since 3.5"}

	// Packs
	callPacksList       = call{id: "packs-list", method: http.MethodPost, path: "/packs"}
	callPacksGet        = call{id: "packs-get", method: http.MethodGet, path: "/packs/{pack_id}", byID: true}
	callPacksAdd        = call{id: "packs-add", method: http.MethodPost, path: "/packs/add", effect: true}
	callPacksUpload     = call{id: "packs-upload", method: http.MethodPost, path: "/packs/upload", effect: true}
	callPacksTagsList   = call{id: "packs-tags-list", method: http.MethodGet, path: "/packs/{pack_id}/tags", byID: true}
	callPacksTagsAdd    = call{id: "packs-tags-add", method: http.MethodPost, path: "/packs/{pack_id}/tags", effect: true}
	callPacksTagsRemove = call{id: "packs-tags-remove", method: http.MethodDelete, path: "/packs/{pack_id}/tags", effect: true}
	callPacksDelete     = call{id: "packs-delete", method: http.MethodDelete, path: "/packs/{pack_id}/delete", effect: true}

	// Queries
	callDistributedAdd    = call{id: "distributed-add", method: http.MethodPost, path: "/distributed/add", effect: true}
	callQueriesList       = call{id: "queries-list", method: http.MethodPost, path: "/queries"}
	callQueriesPacked     = call{id: "queries-packed", method: http.MethodPost, path: "/queries/packed"}
	callQueriesGet        = call{id: "queries-get", method: http.MethodGet, path: "/queries/{query_id}", byID: true}
	callQueriesAdd        = call{id: "queries-add", method: http.MethodPost, path: "/queries/add", effect: true}
	callQueriesUpdate     = call{id: "queries-update", method: http.MethodPost, path: "/queries/{query_id}", effect: true}
	callQueriesTagsList   = call{id: "queries-tags-list", method: http.MethodGet, path: "/queries/{query_id}/tags", byID: true}
	callQueriesTagsAdd    = call{id: "queries-tags-add", method: http.MethodPost, path: "/queries/{query_id}/tags", effect: true}
	callQueriesTagsRemove = call{id: "queries-tags-remove", method: http.MethodDelete, path: "/queries/{query_id}/tags", effect: true}
	callQueriesDelete     = call{id: "queries-delete", method: http.MethodDelete, path: "/queries/{query_id}/delete", effect: true}

	// Rules
	callRulesNames   = call{id: "rules-names", method: http.MethodGet, path: "/rules", releases: "since 4.0"}
	callRulesList    = call{id: "rules-list", method: http.MethodPost, path: "/rules"}
	callRulesGet     = call{id: "rules-get", method: http.MethodGet, path: "/rules/{rule_id}", byID: true}
	callRulesUpdate  = call{id: "rules-update", method: http.MethodPost, path: "/rules/{rule_id}", effect: true}
	callRulesAdd     = call{id: "rules-add", method: http.MethodPost, path: "/rules/add", effect: true}
	callRulesEnable  = call{id: "rules-enable", method: http.MethodPost, path: "/rules/enable", effect: true, releases: "since 4.0"}
	callRulesDisable = call{id: "rules-disable", method: http.MethodPost, path: "/rules/disable", effect: true, releases: "since 4.0"}
	callRulesDelete  = call{id: "rules-delete", method: http.MethodDelete, path: "/rules/disable", effect: true, releases: "since 4.0"}
	callRulesTactics = call{id: "rules-tactics", method: http.MethodPost, path: "/rules/tactics"}

	// Schema
	callSchemaList = call{id: "schema-list", method: http.MethodGet, path: "/schema"}
	callSchemaGet  = call{id: "schema-get", method: http.MethodGet, path: "/schema/{table}", byID: true}

	// Tags
	callTagsList   = call{id: "tags-list", method: http.MethodGet, path: "/tags"}
	callTagsAdd    = call{id: "tags-add", method: http.MethodPost, path: "/tags/add", effect: true}
	callTagsDelete = call{id: "tags-delete", method: http.MethodPost, path: "/tags/delete", effect: true}
	callTagsTagged = call{id: "tags-tagged", method: http.MethodPost, path: "/tags/tagged", byID: true}
	callTagsAssign = call{id: "tags-assign", method: http.MethodPut, path: "/tags/{tag_name}", effect: true, releases: "since 3.5"}

	// YARA
	callYaraList   = call{id: "yara-list", method: http.MethodGet, path: "/yara"}
	callYaraAdd    = call{id: "yara-add", method: http.MethodPost, path: "/yara/add", effect: true}
	callYaraView   = call{id: "yara-view", method: http.MethodPost, path: "/yara/view", byID: true}
	callYaraUpdate = call{id: "yara-update", method: http.MethodPut, path: "/yara/update", effect: true, releases: "since 4.0"}
	callYaraDelete = call{id: "yara-delete", method: http.MethodPost, path: "/yara/delete", effect: true}

	// Hunt
	callHuntUpload             = call{id: "hunt-upload", method: http.MethodPost, path: "/hunt-upload"}
	callIndicatorsUpload       = call{id: "indicators-upload", method: http.MethodPost, path: "/indicators/upload"}
	callHuntUploadExport       = call{id: "hunt-upload-export", method: http.MethodPost, path: "/hunt-upload/export"}
	callIndicatorsUploadExport = call{id: "indicators-upload-export", method: http.MethodPost, path: "/indicators/upload/export"}
	callIndicatorsHunt         = call{id: "indicators-hunt", method: http.MethodPost, path: "/indicators/hunt"}

	// Search
	callActivitySearch      = call{id: "activity-search", method: http.MethodPost, path: "/activity/search"}
	callSearch              = call{id: "search", method: http.MethodPost, path: "/search"}
	callScheduleQueryExport = call{id: "schedule-query-export", method: http.MethodPost, path: "/schedule_query/export"}

	// Response actions
	callResponseList         = call{id: "response-list", method: http.MethodPost, path: "/response", enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseExport       = call{id: "response-export", method: http.MethodPost, path: "/response/export", enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseView         = call{id: "response-view", method: http.MethodPost, path: "/response/view", enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseGet          = call{id: "response-get", method: http.MethodGet, path: "/response/{command_id}", enterprise: true, byID: true, releases: "Enterprise only, since 4.0"}
	callResponseStatusAll    = call{id: "response-status-all", method: http.MethodGet, path: "/response/status/all", enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseStatus       = call{id: "response-status", method: http.MethodPost, path: "/response/status", enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseRestartAgent = call{id: "response-restart-agent", method: http.MethodPost, path: "/response/restart-agent", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseAdd          = call{id: "response-add", method: http.MethodPost, path: "/response/add", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseCustomAction = call{id: "response-custom-action", method: http.MethodPost, path: "/response/custom-action", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseDeleteBulk   = call{id: "response-delete-bulk", method: http.MethodDelete, path: "/response/delete", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseDelete       = call{id: "response-delete", method: http.MethodDelete, path: "/response/{openc2_id}/delete", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseCancel       = call{id: "response-cancel", method: http.MethodPost, path: "/response/cancel", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callResponseLive         = call{id: "response-live", method: http.MethodPost, path: "/response/live_response", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}

	// Windows Defender
	callDefenderScanNow         = call{id: "defender-scan-now", method: http.MethodPost, path: "/defender-management/scan-now", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callDefenderScheduleScan    = call{id: "defender-schedule-scan", method: http.MethodPost, path: "/defender-management/schedule-scan", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callDefenderCheckUpdate     = call{id: "defender-check-update", method: http.MethodPost, path: "/defender-management/check-update", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callDefenderConfigure       = call{id: "defender-configure", method: http.MethodPost, path: "/defender-management/configure", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callDefenderCurrentSettings = call{id: "defender-current-settings", method: http.MethodPost, path: "/defender-management/current-settings", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callDefenderComputerStatus  = call{id: "defender-computer-status", method: http.MethodPost, path: "/defender-management/computer-status", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callDefenderGetQuarantine   = call{id: "defender-get-quarantine", method: http.MethodPost, path: "/defender-management/get-quarantine", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callDefenderStatusRefresh   = call{id: "defender-status-refresh", method: http.MethodPost, path: "/defender-management/status_refresh", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}
	callDefenderQuarantineCarve = call{id: "defender-quarantine-carve", method: http.MethodPost, path: "/defender-management/quarantine_file/carve", effect: true, enterprise: true, releases: "Enterprise only, since 4.0"}

	// Users
	callUsersList       = call{id: "users-list", method: http.MethodGet, path: "/users", releases: "since 3.5"}
	callUsersCreate     = call{id: "users-create", method: http.MethodPost, path: "/users", effect: true, releases: "since 3.5"}
	callUsersAssignRole = call{id: "users-assign-role", method: http.MethodPut, path: "/users", effect: true, releases: "since 3.5"}
	callUsersGet        = call{id: "users-get", method: http.MethodGet, path: "/users/user/{user_id}", byID: true, releases: "since 3.5"}
	callUsersGetMe      = call{id: "users-get-me", method: http.MethodGet, path: "/users/me", releases: "since 3.5"}
	callUsersUpdate     = call{id: "users-update", method: http.MethodPut, path: "/users/user/{user_id}", effect: true, releases: "since 3.5"}
	callUsersUpdateMe   = call{id: "users-update-me", method: http.MethodPut, path: "/users/me", effect: true, releases: "since 3.5"}
	callUsersActivity   = call{id: "users-activity", method: http.MethodGet, path: "/users/platform_activity", releases: "since 3.5"}

	// Passwords
	callUsersResetPassword    = call{id: "users-reset-password", method: http.MethodPut, path: "/users/user/{user_id}/password", effect: true, releases: "since 3.5"}
	callUsersChangeMyPassword = call{id: "users-change-my-password", method: http.MethodPut, path: "/users/me/password", effect: true, releases: "since 3.5"}

	// Websockets

	// Not in the guide of 4.0
	callCarvesQuery       = call{id: "carves-query", method: http.MethodPost, path: "/carves/query", byID: true}
	callOptionsGet        = call{id: "options-get", method: http.MethodGet, path: "/options", releases: "2.1.2 to 3.5"}
	callOptionsAdd        = call{id: "options-add", method: http.MethodPost, path: "/options/add", effect: true, releases: "2.1.2 to 3.5"}
	callQueryresultDelete = call{id: "queryresult-delete", method: http.MethodPost, path: "/queryresult/delete", effect: true, releases: "2.1.2 to 3.5"}
	callConfigsAll        = call{id: "configs-all", method: http.MethodGet, path: "/configs/all", releases: "2.1.2 to 3.5"}
	callConfigsView       = call{id: "configs-view", method: http.MethodPost, path: "/configs/view", byID: true, releases: "2.1.2 to 3.5"}
	callConfigsUpdateOld  = call{id: "configs-update-old", method: http.MethodPost, path: "/configs/update", effect: true, releases: "2.1.2 to 3.5"}
	callConfigsToggle     = call{id: "configs-toggle", method: http.MethodPut, path: "/configs/toggle", effect: true, releases: "2.1.2 to 3.5"}

	// API v0
	callV0Login                 = call{id: "v0-login", method: http.MethodPost, path: "/login", base: baseV0, open: true, bare: true, releases: "2.0 to 3.5"}
	callV0Logout                = call{id: "v0-logout", method: http.MethodPost, path: "/logout", base: baseV0, releases: "2.0 to 3.5"}
	callV0Changepw              = call{id: "v0-changepw", method: http.MethodPost, path: "/changepw", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0Nodes                 = call{id: "v0-nodes", method: http.MethodGet, path: "/nodes/", base: baseV0, releases: "2.0 to 3.5"}
	callV0NodesGet              = call{id: "v0-nodes-get", method: http.MethodGet, path: "/nodes/{host_identifier}", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0NodesCsv              = call{id: "v0-nodes-csv", method: http.MethodGet, path: "/nodes_csv", base: baseV0, releases: "2.0 to 3.5"}
	callV0NodeConfig            = call{id: "v0-node-config", method: http.MethodGet, path: "/nodes/config/{host_identifier}", base: baseV0, byID: true, releases: "2.0 alone"}
	callV0NodeConfigAssign      = call{id: "v0-node-config-assign", method: http.MethodPost, path: "/nodes/config/assign", base: baseV0, effect: true, releases: "2.0 alone"}
	callV0NodeConfigRemove      = call{id: "v0-node-config-remove", method: http.MethodPost, path: "/nodes/config/remove", base: baseV0, effect: true, releases: "2.0 alone"}
	callV0Configs               = call{id: "v0-configs", method: http.MethodGet, path: "/configs", base: baseV0, releases: "2.0 to 3.5"}
	callV0ConfigsGet            = call{id: "v0-configs-get", method: http.MethodGet, path: "/configs/{config_id}", base: baseV0, byID: true, releases: "2.0 alone"}
	callV0ConfigsAdd            = call{id: "v0-configs-add", method: http.MethodPost, path: "/configs/add", base: baseV0, effect: true, releases: "2.0 alone"}
	callV0ConfigsUpdate         = call{id: "v0-configs-update", method: http.MethodPost, path: "/configs/{config_id}", base: baseV0, effect: true, releases: "2.0 alone"}
	callV0ConfigsPlatformGet    = call{id: "v0-configs-platform-get", method: http.MethodGet, path: "/configs/{platform}", base: baseV0, byID: true, releases: "2.0 alone"}
	callV0ConfigsPlatformUpdate = call{id: "v0-configs-platform-update", method: http.MethodPut, path: "/configs/{platform}", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0ScheduleResults       = call{id: "v0-schedule-results", method: http.MethodPost, path: "/nodes/schedule_query/results", base: baseV0, releases: "2.0 to 3.5"}
	callV0ScheduleList          = call{id: "v0-schedule-list", method: http.MethodGet, path: "/nodes/schedule_query/{host_identifier}", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0NodesTagEdit          = call{id: "v0-nodes-tag-edit", method: http.MethodPost, path: "/nodes/tag/edit", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0NodesTagsGet          = call{id: "v0-nodes-tags-get", method: http.MethodGet, path: "/nodes/{host_identifier}/tags", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0NodesTagsAdd          = call{id: "v0-nodes-tags-add", method: http.MethodPost, path: "/nodes/{host_identifier}/tags", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0NodesSearchExport     = call{id: "v0-nodes-search-export", method: http.MethodPost, path: "/nodes/search/export", base: baseV0, releases: "2.0 to 3.5"}
	callV0NodesQueryResult      = call{id: "v0-nodes-query-result", method: http.MethodPost, path: "/nodes/{host_identifier}/queryResult", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0NodesActivity         = call{id: "v0-nodes-activity", method: http.MethodPost, path: "/nodes/{host_identifier}/activity", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0Schema                = call{id: "v0-schema", method: http.MethodGet, path: "/schema", base: baseV0, releases: "2.0 to 3.5"}
	callV0SchemaGet             = call{id: "v0-schema-get", method: http.MethodGet, path: "/schema/{table}", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0DistributedAdd        = call{id: "v0-distributed-add", method: http.MethodPost, path: "/distributed/add", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0Queries               = call{id: "v0-queries", method: http.MethodGet, path: "/queries/", base: baseV0, releases: "2.0 to 3.5"}
	callV0QueriesPacked         = call{id: "v0-queries-packed", method: http.MethodGet, path: "/queries/packs", base: baseV0, releases: "2.0 to 3.5"}
	callV0QueriesGet            = call{id: "v0-queries-get", method: http.MethodGet, path: "/queries/{query_id}", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0QueriesAdd            = call{id: "v0-queries-add", method: http.MethodPost, path: "/queries/add", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0QueriesUpdate         = call{id: "v0-queries-update", method: http.MethodPost, path: "/queries/{query_id}", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0QueriesTagEdit        = call{id: "v0-queries-tag-edit", method: http.MethodPost, path: "/queries/tag/edit", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0QueriesTagsGet        = call{id: "v0-queries-tags-get", method: http.MethodGet, path: "/queries/{query_id}/tags", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0QueriesTagsAdd        = call{id: "v0-queries-tags-add", method: http.MethodPost, path: "/queries/{query_id}/tags", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0Packs                 = call{id: "v0-packs", method: http.MethodGet, path: "/packs/", base: baseV0, releases: "2.0 to 3.5"}
	callV0PacksGet              = call{id: "v0-packs-get", method: http.MethodGet, path: "/packs/{pack_id}", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0PacksAdd              = call{id: "v0-packs-add", method: http.MethodPost, path: "/packs/add", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0PacksUpload           = call{id: "v0-packs-upload", method: http.MethodPost, path: "/packs/upload", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0PacksTagEdit          = call{id: "v0-packs-tag-edit", method: http.MethodPost, path: "/packs/tag/edit", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0PacksTagsGet          = call{id: "v0-packs-tags-get", method: http.MethodGet, path: "/packs/{pack_name}/tags", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0PacksTagsAdd          = call{id: "v0-packs-tags-add", method: http.MethodPost, path: "/packs/{pack_name}/tags", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0Tags                  = call{id: "v0-tags", method: http.MethodGet, path: "/tags/", base: baseV0, releases: "2.0 to 3.5"}
	callV0TagsAdd               = call{id: "v0-tags-add", method: http.MethodPost, path: "/tags/add", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0Rules                 = call{id: "v0-rules", method: http.MethodGet, path: "/rules/", base: baseV0, releases: "2.0 to 3.5"}
	callV0RulesGet              = call{id: "v0-rules-get", method: http.MethodGet, path: "/rules/{rule_id}", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0RulesAdd              = call{id: "v0-rules-add", method: http.MethodPost, path: "/rules/add", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0RulesUpdate           = call{id: "v0-rules-update", method: http.MethodPost, path: "/rules/{rule_id}", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0Alerts                = call{id: "v0-alerts", method: http.MethodPost, path: "/alerts/", base: baseV0, releases: "2.0 to 3.5"}
	callV0AlertsData            = call{id: "v0-alerts-data", method: http.MethodGet, path: "/alerts/data/{alert_id}", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0EmailConfigure        = call{id: "v0-email-configure", method: http.MethodPost, path: "/email/configure", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0EmailTest             = call{id: "v0-email-test", method: http.MethodPost, path: "/email/test", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0Response              = call{id: "v0-response", method: http.MethodGet, path: "/response", base: baseV0, enterprise: true, releases: "Enterprise only, 2.0 to 3.5"}
	callV0ResponseGet           = call{id: "v0-response-get", method: http.MethodGet, path: "/response/{command_id}", base: baseV0, enterprise: true, byID: true, releases: "Enterprise only, 2.0 to 3.5"}
	callV0ResponseAddFile       = call{id: "v0-response-add-file", method: http.MethodPost, path: "/response/add", base: baseV0, effect: true, enterprise: true, releases: "Enterprise only, 2.0 to 3.5"}
	callV0ResponseAddProcess    = call{id: "v0-response-add-process", method: http.MethodPost, path: "/response/add", base: baseV0, effect: true, enterprise: true, releases: "Enterprise only, 2.0 to 3.5"}
	callV0Carves                = call{id: "v0-carves", method: http.MethodPost, path: "/carves/", base: baseV0, releases: "2.0 to 3.5"}
	callV0CarvesDownload        = call{id: "v0-carves-download", method: http.MethodGet, path: "/carves/download/{session_id}", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0CarvesQuery           = call{id: "v0-carves-query", method: http.MethodPost, path: "/carves/query", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0CarvesQueryPath       = call{id: "v0-carves-query-path", method: http.MethodGet, path: "/carves/query/{query_id}/{host_identifier}", base: baseV0, byID: true, releases: "2.0 to 3.5"}
	callV0Yara                  = call{id: "v0-yara", method: http.MethodGet, path: "/yara/", base: baseV0, releases: "2.0 to 3.5"}
	callV0YaraAdd               = call{id: "v0-yara-add", method: http.MethodPost, path: "/yara/add", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0Iocs                  = call{id: "v0-iocs", method: http.MethodGet, path: "/iocs/", base: baseV0, releases: "2.0 to 3.5"}
	callV0IocsAdd               = call{id: "v0-iocs-add", method: http.MethodPost, path: "/iocs/add", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0HuntUpload            = call{id: "v0-hunt-upload", method: http.MethodPost, path: "/hunt-upload", base: baseV0, releases: "2.0 to 3.5"}
	callV0Search                = call{id: "v0-search", method: http.MethodPost, path: "/search", base: baseV0, releases: "2.0 to 3.5"}
	callV0QueryresultDelete     = call{id: "v0-queryresult-delete", method: http.MethodPost, path: "/queryresult/delete", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0QueryresultGet        = call{id: "v0-queryresult-get", method: http.MethodGet, path: "/queryresult/{days_of_data}", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0ScheduleExport        = call{id: "v0-schedule-export", method: http.MethodPost, path: "/schedule_query/export", base: baseV0, releases: "2.0 to 3.5"}
	callV0ApikeysGet            = call{id: "v0-apikeys-get", method: http.MethodGet, path: "/apikeys", base: baseV0, releases: "2.0 to 3.5"}
	callV0ApikeysSet            = call{id: "v0-apikeys-set", method: http.MethodPost, path: "/apikeys", base: baseV0, effect: true, releases: "2.0 to 3.5"}
	callV0OptionsAdd            = call{id: "v0-options-add", method: http.MethodPost, path: "/options/add", base: baseV0, effect: true, releases: "2.0 to 3.5"}
)
