package store

import "testing"

func TestMounts(t *testing.T) {
	for _, tt := range []struct {
		line, mount, fsType string
		network, ok         bool
	}{
		{"36 35 98:0 / / rw,noatime shared:1 - ext4 /dev/vda rw", "/", "ext4", false, true},
		{"36 35 0:52 / /mnt/a\\040b rw - fuse.sshfs host:/ rw", "/mnt/a b", "fuse.sshfs", true, true},
		{"36 35 0:52 / /data rw - fuse.rclone remote: rw", "/data", "fuse.rclone", true, true},
		{"36 35 0:52 / / rw - fuse.fuse-overlayfs fuse-overlayfs rw", "/", "fuse.fuse-overlayfs", false, true},
		{"36 35 0:52 / /win rw master:1 propagate_from:2 - fuseblk /dev/sdb rw", "/win", "fuseblk", false, true},
		{"", "", "", false, false},
		{"36 35 - ext4", "", "", false, false},
	} {
		mount, fsType, ok := parseMount(tt.line)
		if mount != tt.mount || fsType != tt.fsType || ok != tt.ok || isNetworkFUSE(fsType) != tt.network {
			t.Errorf("%q: %q, %q, %t, network %t", tt.line, mount, fsType, ok, isNetworkFUSE(fsType))
		}
	}
}

func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		dir, mount string
		want       bool
	}{{"/a/b", "/", true}, {"/a/b", "/a", true}, {"/a", "/a", true}, {"/ab", "/a", false}, {"/", "/a", false}} {
		if got := within(tt.dir, tt.mount); got != tt.want {
			t.Errorf("within(%q, %q) = %t", tt.dir, tt.mount, got)
		}
	}
}

func TestLocalFolderPasses(t *testing.T) {
	if err := checkFilesystem(t.TempDir()); err != nil {
		t.Error(err)
	}
}
