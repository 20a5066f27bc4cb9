package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"apocryph/testbed/cluster/layout"
)

// mount is one call of mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func (m mount) do() error {
	if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
	}
	return nil
}

// furnish gives the node folders of its own where its programs insist on certain ones, keeps the settings of
// the host's kernel from them, and puts the cluster's folder where the configuration says.
func furnish(cluster layout.Cluster) error {
	// The folder may lie below those that are covered in a moment.
	own, err := os.Open(cluster.Folder)
	if err != nil {
		return err
	}
	defer own.Close()
	if err := (mount{target: "/", flags: syscall.MS_REC | syscall.MS_PRIVATE}).do(); err != nil {
		return err
	}
	if err := (mount{source: "tmpfs", target: "/run", kind: "tmpfs", data: "mode=755"}).do(); err != nil {
		return err
	}
	if err := os.Mkdir(layout.Inside, 0o755); err != nil {
		return err
	}
	source := fmt.Sprintf("/proc/self/fd/%d", own.Fd())
	if err := (mount{source: source, target: layout.Inside, flags: syscall.MS_BIND}).do(); err != nil {
		return err
	}
	for _, mount := range covers() {
		if err := mount.do(); err != nil {
			return err
		}
	}
	if err := pretendSettings(); err != nil {
		return err
	}
	if err := dropUnified(); err != nil {
		return err
	}
	// A peer group of its own: the kubelet's mounts are to reach the containers, never the host.
	return mount{target: "/", flags: syscall.MS_REC | syscall.MS_SHARED}.do()
}

func covers() []mount {
	return []mount{
		{source: "proc", target: "/proc", kind: "proc"},
		// The kubelet insists on this one.
		{source: layout.InNode("var-log"), target: "/var/log", flags: syscall.MS_BIND},
	}
}

// kernelSettings are those of the host that the kubelet would change. It finds them as it wants them.
var kernelSettings = map[string]string{
	"kernel/keys/root_maxbytes": "25000000",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
}

// pretendSettings covers settings of the host's kernel with files that say what the kubelet wants.
func pretendSettings() error {
	folder := layout.InNode("settings")
	for name, value := range kernelSettings {
		file := filepath.Join(folder, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		cover := mount{source: file, target: "/proc/sys/" + name, flags: syscall.MS_BIND}
		if err := cover.do(); err != nil {
			return err
		}
	}
	return nil
}

// dropUnified takes the hierarchy of cgroup version 2 out of sight where it stands beside version 1:
// kubelet and runc would take it for the one in use.
func dropUnified() error {
	const unified = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(filepath.Join(unified, "cgroup.procs")); err != nil {
		return nil
	}
	if err := syscall.Unmount(unified, 0); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("unmount %s: %w", unified, err)
	}
	return nil
}
