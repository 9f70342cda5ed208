package connector

import (
	"context"
	"fmt"
)

// DefenderService is the section "Windows Defender" of the REST guide. All of it
// is Enterprise only and for Windows hosts. Every call only queues a command, also
// those that ask something: the answer is the host's Message in Responses.View.
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
