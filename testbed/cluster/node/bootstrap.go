package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"apocryph/testbed/cluster/image"
	"apocryph/testbed/cluster/layout"
)

// patience is how long a step may take.
const patience = 2 * time.Minute

// step is a part of bringing the node up. Its name tells what then is so.
type step struct {
	name string
	do   func() error
}

// bootstrap are the steps from nothing to a cluster that can be used.
func (s *supervisor) bootstrap() []step {
	return []step{
		{"its configuration is written", func() error { return s.configure() }},
		{"containerd answers", func() error {
			s.start("etcd", "containerd", "kube-apiserver")
			return until(ctr("version"))
		}},
		{"its images are imported", s.importImages},
		{"the API server is ready", func() error { return until(kubectl("get", "--raw=/readyz")) }},
		{"add-ons are applied", func() error {
			// Earlier, the controller manager would end for want of rights.
			s.start("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
			return until(kubectl("apply", "-f", layout.InNode("config", "addons.yaml")))
		}},
		{"the node is ready", func() error {
			s.start("netpol", "volumes")
			return until(kubectl("wait", "--for=condition=Ready", "--timeout=1s", "node/"+s.cluster.Node()))
		}},
		{"names are resolved", func() error {
			return until(kubectl("wait", "--for=condition=Available", "--timeout=1s", "-n", "kube-system", "deployment/coredns"))
		}},
		{"pods can be made", func() error { return until(kubectl("get", "-n", "default", "serviceaccount/default")) }},
	}
}

// until runs a command until it succeeds; in the end it tells why it does not.
func until(command []string) error {
	deadline := time.Now().Add(patience)
	for {
		// One that hangs is a try that failed.
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		said, err := exec.CommandContext(limit, command[0], command[1:]...).CombinedOutput()
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(said)))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func kubectl(arguments ...string) []string {
	return append(program("kubectl", "--kubeconfig="+kubeconfig("admin")), arguments...)
}

func ctr(arguments ...string) []string {
	return append([]string{"ctr", "--address", containerdSocket, "--namespace", "k8s.io"}, arguments...)
}

// importImages makes the node's own images and gives them to containerd.
func (s *supervisor) importImages() error {
	pause, err := image.Program(image.PauseName, layout.InNode("bin", "pause"))
	if err != nil {
		return err
	}
	coredns, err := image.Program(image.CoreDNSName, layout.InNode("bin", "coredns"))
	if err != nil {
		return err
	}
	busybox, err := image.Busybox()
	if err != nil {
		return err
	}
	for _, image := range []image.Image{pause, coredns, busybox} {
		if err := importImage(image); err != nil {
			return fmt.Errorf("import %s: %w", image.Name, err)
		}
	}
	return nil
}

func importImage(image image.Image) error {
	var archive bytes.Buffer
	if err := image.Write(&archive); err != nil {
		return err
	}
	words := ctr("images", "import", "-")
	command := exec.Command(words[0], words[1:]...)
	command.Stdin = io.Reader(&archive)
	said, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(said)))
	}
	return nil
}

// cniPrograms are where Debian has them; the node adds its own.
const cniPrograms = "/usr/lib/cni"

// linkCNI puts all programs for pods' networks into the one folder that containerd looks into.
func linkCNI() error {
	links := map[string]string{"netpol": layout.InNode("bin", "netpol-cni")}
	for _, name := range []string{"loopback", "ptp", "host-local"} {
		links[name] = filepath.Join(cniPrograms, name)
	}
	for name, target := range links {
		err := os.Symlink(target, layout.InNode("cni-bin", name))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
