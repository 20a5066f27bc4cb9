package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"apocryph/testbed/cluster/layout"
)

// Trust lets the node pull from a registry by plain HTTP, from its next pull on.
func Trust(cluster layout.Cluster, registry string) error {
	if _, _, err := net.SplitHostPort(registry); err != nil {
		return fmt.Errorf("a registry is named HOST:PORT: %w", err)
	}
	if _, runs := running(cluster); !runs {
		return fmt.Errorf("cluster %s does not run: make cluster", cluster.Name)
	}
	folder := cluster.Path("registries", registry)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	// The server's own entry is not enough: containerd 1.6 would ask it by HTTPS.
	address := "http://" + registry
	text := fmt.Sprintf("server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", address, address)
	return os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(text), 0o644)
}

// Import gives the node an image out of an archive.
func Import(cluster layout.Cluster, file string) error {
	socket, err := inside(cluster, "/run/containerd/containerd.sock")
	if err != nil {
		return err
	}
	command := exec.Command("ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", file)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}

// Decrypt gives the node a private key, in PEM, for the encrypted images that it will pull.
func Decrypt(cluster layout.Cluster, file string) error {
	if _, runs := running(cluster); !runs {
		return fmt.Errorf("cluster %s does not run: make cluster", cluster.Name)
	}
	key, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(key)
	return os.WriteFile(cluster.Path("image-keys", hex.EncodeToString(sum[:8])), key, 0o600)
}

// Keys has the node ask a key provider, by ocicrypt's protocol, for the keys of layers that name it.
func Keys(cluster layout.Cluster, provider string) error {
	if _, _, err := net.SplitHostPort(provider); err != nil {
		return fmt.Errorf("a key provider is named HOST:PORT: %w", err)
	}
	if _, runs := running(cluster); !runs {
		return fmt.Errorf("cluster %s does not run: make cluster", cluster.Name)
	}
	text := fmt.Sprintf("{\"key-providers\": {\"apocryph\": {\"grpc\": %q}}}\n", provider)
	return os.WriteFile(cluster.Path("key-providers.json"), []byte(text), 0o644)
}

// Enter becomes a program in the node's namespaces.
func Enter(cluster layout.Cluster, words []string) error {
	first, runs := running(cluster)
	if !runs {
		return fmt.Errorf("cluster %s does not run: make cluster", cluster.Name)
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return errors.New("no nsenter: install util-linux")
	}
	arguments := []string{nsenter, "--target", fmt.Sprint(first.id), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
	return syscall.Exec(nsenter, append(arguments, words...), os.Environ())
}
