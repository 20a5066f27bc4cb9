package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folderOf is where a cluster keeps its state: beside the folder of the one that runs.
func folderOf(name string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(environment["KUBECONFIG"])), name)
}

// traces are what is left of a cluster on the host.
func traces(t *testing.T, name string) (found []string) {
	t.Helper()
	folder := folderOf(name)
	holds := func(file, text string) bool {
		content, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(content), text)
	}
	cgroup := "/apocryph-cluster-" + name
	for _, pattern := range []string{folder, folder + ".lock", "/sys/fs/cgroup/*" + cgroup} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, matches...)
	}
	for _, source := range []struct{ pattern, text string }{
		{"/proc/[0-9]*/cgroup", cgroup + "/"},
		{"/proc/self/mountinfo", folder + "/"},
		{"/sys/class/net/*/ifalias", "apocryph cluster " + name + "\n"},
		{"/sys/block/loop*/loop/backing_file", folder + "/"},
	} {
		matches, err := filepath.Glob(source.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range matches {
			if holds(match, source.text) {
				found = append(found, match)
			}
		}
	}
	return found
}

// shared are files and settings of the host that careless programs of a node would make or change.
func shared(t *testing.T) map[string]string {
	t.Helper()
	state := map[string]string{}
	for _, folder := range []string{
		"/etc/cni", "/opt/cni", "/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers",
		"/run/containerd", "/run/netns", "/run/flannel", "/run/xtables.lock", "/etc/containerd/certs.d",
	} {
		if _, err := os.Lstat(folder); err == nil {
			state[folder] = "there"
		}
	}
	for _, setting := range []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys",
		"kernel/keys/root_maxbytes", "net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet",
		"net/ipv6/conf/all/disable_ipv6", "net/netfilter/nf_conntrack_max",
	} {
		if value, err := os.ReadFile("/proc/sys/" + setting); err == nil {
			state[setting] = string(value)
		}
	}
	return state
}
