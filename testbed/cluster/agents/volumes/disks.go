package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// disks are file systems in files, `<name>.img`, each mounted on the folder `<name>` beside it.
type disks struct{ folder string }

func (d disks) path(name string) string { return filepath.Join(d.folder, name) }

func (d disks) image(name string) string { return d.path(name) + ".img" }

// smallest is what ext4 needs for itself.
const smallest = 1 << 20

// create makes a disk of a size in bytes, unless it is there.
func (d disks) create(name string, size int64) error {
	if err := os.MkdirAll(d.path(name), 0o755); err != nil {
		return err
	}
	mounted, err := d.mounted(name)
	if err != nil || mounted {
		return err
	}
	file, err := os.Create(d.image(name))
	if err != nil {
		return err
	}
	// Sparse: it takes what is written. Without a journal: a crash of the node is its end anyway.
	if err := errors.Join(file.Truncate(max(size, smallest)), file.Close()); err != nil {
		return err
	}
	if err := execute("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", d.image(name)); err != nil {
		return err
	}
	// The loop device goes with its last mount.
	return execute("mount", "-o", "loop", d.image(name), d.path(name))
}

// remove takes a disk away with all that is on it. One that is in use stays.
func (d disks) remove(name string) error {
	mounted, err := d.mounted(name)
	if err != nil {
		return err
	}
	if mounted {
		if err := syscall.Unmount(d.path(name), 0); err != nil {
			return fmt.Errorf("unmount %s: %w", d.path(name), err)
		}
	}
	for _, path := range []string{d.path(name), d.image(name)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// mounted tells whether the disk's folder is another file system than the folder above.
func (d disks) mounted(name string) (bool, error) {
	var its, above syscall.Stat_t
	err := syscall.Stat(d.path(name), &its)
	if errors.Is(err, syscall.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = syscall.Stat(d.folder, &above)
	return its.Dev != above.Dev, err
}

func execute(words ...string) error {
	said, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(said)))
	}
	return nil
}
