package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestADiskIsAsLargeAsAskedForAndGoesWithAllThatIsOnIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: mounts need root")
	}
	disks := disks{t.TempDir()}
	const size = 4 << 20
	for range 2 {
		if err := disks.create("data", size); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = syscall.Unmount(disks.path("data"), syscall.MNT_DETACH) })
	file := filepath.Join(disks.path("data"), "file")
	if err := os.WriteFile(file, make([]byte, size/2), 0o600); err != nil {
		t.Errorf("half of it: %v", err)
	}
	if err := os.WriteFile(file, make([]byte, 2*size), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("twice its size: %v", err)
	}
	for range 2 {
		if err := disks.remove("data"); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(disks.folder); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestADiskThatIsInUseStays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: mounts need root")
	}
	disks := disks{t.TempDir()}
	if err := disks.create("data", 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disks.path("data"), syscall.MNT_DETACH) })
	file, err := os.Create(filepath.Join(disks.path("data"), "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := disks.remove("data"); err == nil {
		t.Error("it was taken away")
	}
	file.Close()
	if err := disks.remove("data"); err != nil {
		t.Error(err)
	}
}
