package node

import (
	"bytes"
	"embed"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"

	"apocryph/testbed/cluster/image"
	"apocryph/testbed/cluster/layout"
)

//go:embed config
var config embed.FS

// values are what the configuration files are filled with.
type values struct {
	Node, Cgroup, Runtime, Socket string
	Address, Pods, DNS            string
	// Layers are the kinds of layers that may be encrypted, with what their media types add to a plain one's.
	Layers                   map[string]string
	PauseImage, CoreDNSImage string
}

// targets are where the configuration files go, in the cluster's folder.
var targets = map[string]string{
	"containerd.toml": "config",
	"kubelet.yaml":    "config",
	"kube-proxy.yaml": "config",
	"addons.yaml":     "config",
	"10-ptp.conflist": "cni",
}

// configure writes all configuration files.
func (s *supervisor) configure() error {
	runtime, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	values := values{
		Node: s.cluster.Node(), Cgroup: s.cluster.Cgroup(), Runtime: runtime, Socket: containerdSocket,
		Address: s.network.Node.String(), Pods: s.network.Pods.String(),
		DNS:        s.network.DNSService().String(),
		Layers:     map[string]string{"tar": "", "tar.gzip": "+gzip", "tar.zstd": "+zstd"},
		PauseImage: image.PauseName, CoreDNSImage: image.CoreDNSName,
	}
	for name, folder := range targets {
		text, err := fill(name, values)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(layout.InNode(folder), name), text, 0o644); err != nil {
			return err
		}
	}
	return linkCNI()
}

func fill(name string, values values) ([]byte, error) {
	source, err := template.New(name).Option("missingkey=error").ParseFS(config, "config/"+name)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = source.Execute(&text, values)
	return text.Bytes(), err
}
