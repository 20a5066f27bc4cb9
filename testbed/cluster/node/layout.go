package node

// Word lets a node that has been started go on.
const Word = "go"

// Socket is where the supervisor listens, as the node sees it.
const Socket = "/run/control.sock"

// Folders are those of a cluster's folder.
var Folders = []string{
	"bin", "cni", "cni-bin", "config", "containerd", "etcd", "image-keys", "kubelet", "log", "pki", "pod-logs", "registries",
	"settings", "var-log", "volumes",
}

// Programs are what the node runs, besides those of Debian's packages.
var Programs = []string{"kubernetes", "netpol", "netpol-cni", "volumes", "coredns", "decoder", "pause"}

// Components are the names that the program `kubernetes` goes by.
var Components = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
}
