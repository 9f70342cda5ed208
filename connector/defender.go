package connector

import (
	"context"
	"fmt"
	"time"
)

// DefenderService is the section "Windows Defender" of the REST guide. All of it
// is Enterprise only and for Windows hosts. Every call only queues a command, also
// those that ask something: the answer is the host's Output in Responses.View.
type DefenderService struct{ c *Client }

// ScanKind is the extent of a scan.
type ScanKind int

// The scan kinds.
const (
	ScanQuick  ScanKind = 1
	ScanFull   ScanKind = 2
	ScanCustom ScanKind = 3 // of one path
)

// Scan starts a scan. path is for ScanCustom only. Each call queues another scan.
// API: POST /defender-management/scan-now (REST guide 4.0.0, "Scan now").
func (s *DefenderService) Scan(ctx context.Context, host string, kind ScanKind, path string) (Command, error) {
	in := map[string]any{"scan_type": int(kind)}
	switch {
	case kind < ScanQuick || kind > ScanCustom:
		return Command{}, fmt.Errorf("defender scan: %w: unknown kind %d", ErrInvalid, kind)
	case kind == ScanCustom && path == "":
		return Command{}, fmt.Errorf("defender scan: %w: a custom scan needs a path", ErrInvalid)
	case kind != ScanCustom && path != "":
		return Command{}, fmt.Errorf("defender scan: %w: only a custom scan takes a path", ErrInvalid)
	case path != "":
		in["file_path"] = path
	}
	return s.queue(ctx, callDefenderScanNow, host, in)
}

// ScanDay is the day of a scheduled full scan.
type ScanDay int

// The days.
const (
	ScanEveryDay  ScanDay = 0
	ScanSunday    ScanDay = 1
	ScanMonday    ScanDay = 2
	ScanTuesday   ScanDay = 3
	ScanWednesday ScanDay = 4
	ScanThursday  ScanDay = 5
	ScanFriday    ScanDay = 6
	ScanSaturday  ScanDay = 7
	ScanNever     ScanDay = 8
)

// ScanSchedule is when a host scans by itself.
type ScanSchedule struct {
	// Kind is ScanQuick or ScanFull. The guide calls the second auto trigger scan; in
	// the vendor's console it is the full one.
	Kind ScanKind
	// At is the time of day, by the clock of the host: whole minutes below 24 hours.
	At time.Duration
	// Day counts for ScanFull alone: a quick scan is of every day.
	Day ScanDay
}

// ScheduleScan sets when a host scans by itself.
// API: POST /defender-management/schedule-scan (REST guide 4.0.0, "Schedule a scan for
// a host").
func (s *DefenderService) ScheduleScan(ctx context.Context, host string, r ScanSchedule) (Command, error) {
	const what = "schedule a scan"
	switch {
	case r.Kind != ScanQuick && r.Kind != ScanFull:
		return Command{}, fmt.Errorf("%s: %w: kind %d is none of quick (1), full (2)", what, ErrInvalid, r.Kind)
	case r.At < 0 || r.At >= 24*time.Hour || r.At%time.Minute != 0:
		return Command{}, fmt.Errorf("%s: %w: %v is not a time of day in whole minutes", what, ErrInvalid, r.At)
	case r.Day < ScanEveryDay || r.Day > ScanNever:
		return Command{}, fmt.Errorf("%s: %w: day %d is none of 0 (every day), 1 (Sunday) to 7 (Saturday), 8 (never)", what, ErrInvalid, r.Day)
	case r.Kind == ScanQuick && r.Day != ScanEveryDay:
		return Command{}, fmt.Errorf("%s: %w: only a full scan has a day", what, ErrInvalid)
	}
	in := map[string]any{"scan_type": int(r.Kind), "time": fmt.Sprintf("%02d:%02d", int(r.At.Hours()), int(r.At.Minutes())%60)}
	if r.Kind == ScanFull {
		in["scan_day"] = int(r.Day)
	}
	return s.queue(ctx, callDefenderScheduleScan, host, in)
}

// CheckUpdate asks a host for the state of its protection updates, such as the
// version of its signatures.
// API: POST /defender-management/check-update (REST guide 4.0.0, "Check protection
// updates for a host").
func (s *DefenderService) CheckUpdate(ctx context.Context, host string) (Command, error) {
	return s.queue(ctx, callDefenderCheckUpdate, host, map[string]any{})
}

// Exclusion is what scans leave out. One of the three is needed, more are fine.
type Exclusion struct {
	FileType string // a file extension, such as .txt
	Path     string // of a file or folder
	Process  string // name of a program
}

// ExclusionChange says what to do with an Exclusion.
type ExclusionChange string

// The changes.
const (
	AddExclusion    ExclusionChange = "add"
	RemoveExclusion ExclusionChange = "remove"
)

// Configure changes what scans of a host leave out. The guide shows no id in the
// answer; the vendor's console keeps one.
// API: POST /defender-management/configure (REST guide 4.0.0, "Configure scan settings
// for a host").
func (s *DefenderService) Configure(ctx context.Context, host string, change ExclusionChange, r Exclusion) (Command, error) {
	const what = "configure defender"
	if change == "" || r == (Exclusion{}) {
		return Command{}, fmt.Errorf("%s: %w: what to do, and file type, path or process are needed", what, ErrInvalid)
	}
	if err := inSet(what, "change", change, AddExclusion, RemoveExclusion); err != nil {
		return Command{}, err
	}
	in := map[string]any{"action": string(change)}
	set(in, "file_type", r.FileType)
	set(in, "path", r.Path)
	set(in, "process", r.Process)
	return s.queue(ctx, callDefenderConfigure, host, in)
}

// CurrentSettings asks a host for its settings, such as exclusions and schedules.
// API: POST /defender-management/current-settings (REST guide 4.0.0, "View scan
// settings for a host").
func (s *DefenderService) CurrentSettings(ctx context.Context, host string) (Command, error) {
	return s.queue(ctx, callDefenderCurrentSettings, host, map[string]any{})
}

// RefreshStatus asks a host whether Defender is on and protects it.
// API: POST /defender-management/status_refresh (REST guide 4.0.0, "Get application
// status for a host").
func (s *DefenderService) RefreshStatus(ctx context.Context, host string) (Command, error) {
	return s.queue(ctx, callDefenderStatusRefresh, host, map[string]any{})
}

// ComputerStatus asks a host for its threats and protection.
// API: POST /defender-management/computer-status (REST guide 4.0.0, "Computer status").
func (s *DefenderService) ComputerStatus(ctx context.Context, host string) (Command, error) {
	return s.queue(ctx, callDefenderComputerStatus, host, map[string]any{})
}

// Quarantine asks a host for the list of its quarantined threats.
// API: POST /defender-management/get-quarantine (REST guide 4.0.0, "Get quarantine").
func (s *DefenderService) Quarantine(ctx context.Context, host string) (Command, error) {
	return s.queue(ctx, callDefenderGetQuarantine, host, map[string]any{})
}

// CarveQuarantined has a quarantined file copied to the server. No id comes back:
// the file turns up among the host's carves.
// API: POST /defender-management/quarantine_file/carve (REST guide 4.0.0).
func (s *DefenderService) CarveQuarantined(ctx context.Context, host, path string) error {
	if path == "" {
		return fmt.Errorf("carve quarantined file: %w: path is empty", ErrInvalid)
	}
	_, err := s.queue(ctx, callDefenderQuarantineCarve, host, map[string]any{"path": path})
	return err
}

func (s *DefenderService) queue(ctx context.Context, k call, host string, in map[string]any) (cmd Command, err error) {
	if in["host_identifier"], err = commaList(k.id, []string{host}); err != nil {
		return cmd, err
	}
	err = s.c.do(ctx, k, in, cmd.read)
	return cmd, err
}
