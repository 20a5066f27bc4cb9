// Package host brings clusters up and takes them away, from the outside of their nodes.
package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"apocryph/testbed/cluster/build"
	"apocryph/testbed/cluster/layout"
	"apocryph/testbed/cluster/node"
	"apocryph/testbed/cluster/pki"
)

const (
	// A node is ready within seconds; a machine that is busy with other things gets its time.
	upPatience   = 5 * time.Minute
	downPatience = time.Minute
)

// errEnded is told of a node that was killed: another may take its place.
var errEnded = errors.New("the node ended")

// Up brings the cluster up unless it runs, and returns when it is ready for use.
func Up(cluster layout.Cluster, builder build.Builder) error {
	unlock, err := lock(cluster)
	if err != nil {
		return err
	}
	defer unlock()
	if _, runs := running(cluster); runs {
		builder.Say("cluster " + cluster.Name + " runs already")
		if status, err := Status(cluster); err == nil && status.Ready {
			return nil
		}
		if err := ready(cluster, builder.Say); !errors.Is(err, errEnded) {
			return err
		}
	}
	// What a killed one left.
	if err := takeAway(cluster); err != nil {
		return err
	}
	if err := furnish(cluster, builder); err != nil {
		return err
	}
	if err := start(cluster); err != nil {
		return errors.Join(err, takeAway(cluster))
	}
	return ready(cluster, builder.Say)
}

func lock(cluster layout.Cluster) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(cluster.Folder), 0o755); err != nil {
		return nil, err
	}
	return build.Lock(cluster.Folder + ".lock")
}

// furnish makes the cluster's folder with its programs.
func furnish(cluster layout.Cluster, builder build.Builder) error {
	for _, folder := range node.Folders {
		if err := os.MkdirAll(cluster.Path(folder), 0o755); err != nil {
			return err
		}
	}
	for _, secret := range []string{"pki", "image-keys"} {
		if err := os.Chmod(cluster.Path(secret), 0o700); err != nil {
			return err
		}
	}
	if err := link(cluster, builder); err != nil {
		return err
	}
	return makeCgroups(cluster.Cgroup())
}

// link gives the cluster its programs. A later build may remove those in the cache, never these.
func link(cluster layout.Cluster, builder build.Builder) error {
	for _, program := range node.Programs {
		path, err := builder.Build(program)
		if err != nil {
			return err
		}
		if err := os.Link(path, cluster.Path("bin", program)); err != nil {
			return err
		}
	}
	for _, name := range node.Components {
		if err := os.Symlink("kubernetes", cluster.Path("bin", name)); err != nil {
			return err
		}
	}
	return nil
}

// start begins the node, gives it what is made outside, and lets it go on. Without that word, as when this is
// killed meanwhile, it ends.
func start(cluster layout.Cluster) error {
	command, word, err := spawn(cluster)
	if err != nil {
		return err
	}
	defer word.Close()
	first, err := identify(command.Process.Pid)
	if err != nil {
		return fmt.Errorf("the node ended at once: %w", err)
	}
	if err := save(cluster, first); err != nil {
		return err
	}
	if err := joinCgroups(cluster.Cgroup(), first); err != nil {
		return err
	}
	network, err := connectAlone(cluster, first)
	if err != nil {
		return err
	}
	if err := pki.Make(cluster.Path("pki"), cluster.Node(), network); err != nil {
		return err
	}
	if err := handOver(cluster); err != nil {
		return err
	}
	_, err = word.Write([]byte(node.Word))
	return err
}

// connectAlone keeps others from choosing the same network meanwhile.
func connectAlone(cluster layout.Cluster, first process) (layout.Network, error) {
	unlock, err := build.Lock(filepath.Join(filepath.Dir(cluster.Folder), ".network.lock"))
	if err != nil {
		return layout.Network{}, err
	}
	defer unlock()
	return connect(cluster, first)
}

// spawn starts the node's first process in namespaces of its own. It outlives this program.
func spawn(cluster layout.Cluster) (*exec.Cmd, *os.File, error) {
	log, err := os.Create(cluster.Path("log", "node.log"))
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	heard, word, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer heard.Close()
	command := exec.Command("/proc/self/exe", "-name", cluster.Name, "node")
	command.Stdin, command.Stdout, command.Stderr = heard, log, log
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := command.Start(); err != nil {
		word.Close()
		return nil, nil, fmt.Errorf("start the node: %w", err)
	}
	return command, word, nil
}

// handOver puts the administrator's kubeconfig where it is looked for, readable by whoever called sudo.
func handOver(cluster layout.Cluster) error {
	content, err := os.ReadFile(cluster.Path("pki", "admin.kubeconfig"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(cluster.Kubeconfig(), content, 0o600); err != nil {
		return err
	}
	user, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	if err != nil {
		return nil
	}
	return os.Chown(cluster.Kubeconfig(), user, -1)
}

// ready waits until the cluster can be used, and tells the steps on the way.
func ready(cluster layout.Cluster, say func(string)) error {
	told := 0
	var status node.Status
	check := func() bool {
		_, alive := running(cluster)
		// A node that has just begun answers a little later.
		if found, err := Status(cluster); err == nil {
			status = found
		}
		for ; told < len(status.Steps); told++ {
			say("  " + status.Steps[told])
		}
		return status.Ready || status.Failure != "" || !alive
	}
	err := poll(time.Now().Add(upPatience), "cluster "+cluster.Name+" to be ready", check)
	switch {
	case status.Ready && err == nil:
		return nil
	case status.Failure != "":
		err = errors.New(status.Failure)
	case err == nil:
		err = errEnded
	}
	return fmt.Errorf("%w: its logs are in %s until it is taken away", err, cluster.Path("log"))
}
