// Package node is the inside of a cluster's only node: namespaces of mounts, processes and network on the
// host's own file system. With its first process, everything in them ends.
package node

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"apocryph/testbed/cluster/layout"
)

// First is the node's first process. It makes the namespaces a node, lets the supervisor do the work and
// collects processes that nobody else does.
func First(cluster layout.Cluster) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("`node` runs as the first process of its namespace: use `up`")
	}
	if err := heard(os.Stdin); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(cluster.Node())); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	network, err := layout.ReadNetwork(cluster.Folder)
	if err != nil {
		return err
	}
	if err := furnish(cluster); err != nil {
		return err
	}
	if err := connect(network); err != nil {
		return err
	}
	supervisor, err := os.StartProcess("/proc/self/exe", []string{"cluster", "-name", cluster.Name, "supervise"}, &os.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr},
	})
	if err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	return collect(supervisor.Pid)
}

// heard waits for the word. An end without it means that whoever was to give it is gone.
func heard(from io.Reader) error {
	word := make([]byte, len(Word))
	if _, err := io.ReadFull(from, word); err != nil || string(word) != Word {
		return fmt.Errorf("nobody brings this node up any more: %w", err)
	}
	return nil
}

// collect takes the ends of all processes until the supervisor's.
func collect(supervisor int) error {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for processes: %w", err)
		}
		if ended == supervisor {
			return fmt.Errorf("the supervisor ended: exit code %d, signal %v", status.ExitStatus(), status.Signal())
		}
	}
}
