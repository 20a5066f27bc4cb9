package host

import (
	"fmt"
	"os"
	"time"

	"apocryph/testbed/cluster/layout"
)

// Down takes the cluster away, whatever state it is in: its processes, and with them their namespaces with
// mounts, interfaces, routes and firewalls; then its cgroups and its folder.
func Down(cluster layout.Cluster) error {
	unlock, err := lock(cluster)
	if err != nil {
		return err
	}
	defer unlock()
	if err := takeAway(cluster); err != nil {
		return err
	}
	return os.Remove(cluster.Folder + ".lock")
}

func takeAway(cluster layout.Cluster) error {
	deadline := time.Now().Add(downPatience)
	if err := disconnect(cluster); err != nil {
		return err
	}
	if first, runs := running(cluster); runs {
		if err := first.end(deadline); err != nil {
			return err
		}
	}
	if err := removeCgroups(cluster.Cgroup(), deadline); err != nil {
		return err
	}
	if err := os.RemoveAll(cluster.Folder); err != nil {
		return fmt.Errorf("remove %s: %w", cluster.Folder, err)
	}
	return nil
}
