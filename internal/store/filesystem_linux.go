package store

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Magic numbers of network file systems: linux/magic.h and statfs(2).
var networkMagic = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x564c:     "NCP",
	0x73757245: "Coda",
	0x5346414f: "AFS",
	0x6b414653: "AFS",
	0x00c36400: "Ceph",
	0x0bd00bd0: "Lustre",
	0x19830326: "BeeGFS",
	0x47504653: "GPFS",
	0x7461636f: "OCFS2",
	0x01161970: "GFS2",
	0xaad7aaea: "PanFS",
}

const fuseMagic = 0x65735546

// networkFUSE are the subtypes of FUSE that reach over a network. Others are
// local: fuse-overlayfs is what rootless containers stand on, ntfs-3g a disk.
var networkFUSE = []string{
	"sshfs", "rclone", "s3fs", "s3ql", "goofys", "mount-s3", "gcsfuse", "blobfuse", "glusterfs", "ceph", "davfs", "curlftpfs",
	"smbnetfs", "mfs", "moosefs", "juicefs", "seaweedfs", "gvfsd",
}

// checkFilesystem refuses file systems over a network: WAL mode needs memory
// shared by all processes and locks and syncs that mean what they say
// (sqlite.org/wal.html, "Disadvantages"). 9p passes: sandboxes and virtual
// machines present a local disk as 9p, and where it cannot share memory SQLite
// fails to open the store by itself.
func checkFilesystem(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("file system of %q: %w", dir, err)
	}
	magic := uint32(st.Type) //nolint:gosec // the type is 32 bits wide whatever the field is
	name, network := networkMagic[magic]
	if magic == fuseMagic {
		name, network = networkMount(dir)
	}
	if network {
		return fmt.Errorf("%w: %q is on %s; use a folder on a local disk", ErrNetworkFilesystem, dir, name)
	}
	return nil
}

// networkMount finds the FUSE subtype of a folder in proc_pid_mountinfo(5).
func networkMount(dir string) (string, bool) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }()
	var best, kind string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		mount, fsType, ok := parseMount(lines.Text())
		// A later line covers an earlier one on the same place.
		if ok && len(mount) >= len(best) && within(dir, mount) {
			best, kind = mount, fsType
		}
	}
	return kind, isNetworkFUSE(kind)
}

func isNetworkFUSE(fsType string) bool {
	subtype := strings.TrimPrefix(fsType, "fuse.")
	for _, name := range networkFUSE {
		if strings.HasPrefix(subtype, name) {
			return true
		}
	}
	return false
}

// parseMount reads mount point and type of one line of mountinfo:
// 36 35 98:0 /root /mnt rw,noatime master:1 - fuse.sshfs host:/ rw
func parseMount(line string) (mount, fsType string, ok bool) {
	before, after, ok := strings.Cut(line, " - ")
	if !ok {
		return "", "", false
	}
	fields := strings.Fields(before)
	types := strings.Fields(after)
	if len(fields) < 5 || len(types) < 1 {
		return "", "", false
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4]), types[0], true
}

func within(dir, mount string) bool {
	return mount == "/" || dir == mount || strings.HasPrefix(dir, mount+"/")
}
