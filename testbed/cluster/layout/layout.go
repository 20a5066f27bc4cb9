// Package layout tells where the clusters keep what, on the host and inside their node.
package layout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// Inside is where the node sees its cluster's folder, wherever that is on the host.
const Inside = "/run/cluster"

// Cluster is one test cluster, by its name.
type Cluster struct {
	Name string
	// Folder holds all of its state, on the host.
	Folder string
}

var names = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)

// Cache is the project's folder in the user's cache.
func Cache() (string, error) {
	if cache := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(cache) {
		return filepath.Join(cache, "apocryph"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no folder for a cache: %w: set XDG_CACHE_HOME", err)
	}
	return filepath.Join(home, ".cache", "apocryph"), nil
}

// Named is the cluster of this name, whether it runs or not.
func Named(name string) (Cluster, error) {
	if !names.MatchString(name) {
		return Cluster{}, errors.New("a cluster's name is up to 20 small letters, digits and hyphens, a letter first")
	}
	cache, err := Cache()
	return Cluster{Name: name, Folder: filepath.Join(cache, "clusters", name)}, err
}

// Path is a path in the cluster's folder, on the host.
func (c Cluster) Path(parts ...string) string {
	return filepath.Join(append([]string{c.Folder}, parts...)...)
}

// Kubeconfig is the administrator's, for use from the host.
func (c Cluster) Kubeconfig() string { return c.Path("kubeconfig") }

// Node is the name of its only node, also its host name.
func (c Cluster) Node() string { return "apocryph-" + c.Name }

// Cgroup is the folder of its pods in every cgroup hierarchy.
func (c Cluster) Cgroup() string { return "/apocryph-cluster-" + c.Name }

// InNode is a path in the cluster's folder as the node sees it.
func InNode(parts ...string) string {
	return filepath.Join(append([]string{Inside}, parts...)...)
}
