package node

import (
	"fmt"

	"apocryph/testbed/cluster/layout"
)

// component is a program that the node keeps running.
type component struct {
	name    string
	command []string
}

const (
	etcdClients = "http://127.0.0.1:2379"
	etcdPeers   = "http://127.0.0.1:2380"
	// containerdSocket is also what containerd's and the kubelet's configuration name.
	containerdSocket = "/run/containerd/containerd.sock"
)

// components are all of the node's, in the order in which people would name them.
func components(cluster layout.Cluster, network layout.Network) []component {
	return []component{
		{"etcd", etcd()},
		{"containerd", []string{"containerd", "--config", layout.InNode("config", "containerd.toml")}},
		{"kube-apiserver", apiServer(network)},
		{"kube-controller-manager", controllerManager(network)},
		{"kube-scheduler", append(control("kube-scheduler"), withoutElection...)},
		{"kubelet", kubelet(cluster, network)},
		{"kube-proxy", program("kube-proxy", "--config="+layout.InNode("config", "kube-proxy.yaml"))},
		{"netpol", program("netpol", "-kubeconfig="+kubeconfig("netpol"), "-pods="+network.Pods.String())},
		{"volumes", program("volumes",
			"-kubeconfig="+kubeconfig("volumes"), "-node="+cluster.Node(), "-folder="+layout.InNode("volumes"))},
	}
}

func program(name string, arguments ...string) []string {
	return append([]string{layout.InNode("bin", name)}, arguments...)
}

func kubeconfig(name string) string { return layout.InNode("pki", name+".kubeconfig") }

func pki(file string) string { return layout.InNode("pki", file) }

func etcd() []string {
	return program("etcd",
		"--name=node", "--data-dir="+layout.InNode("etcd"), "--log-level=warn",
		// What a crash of the machine loses is lost anyway.
		"--unsafe-no-fsync",
		"--listen-client-urls="+etcdClients, "--advertise-client-urls="+etcdClients,
		"--listen-peer-urls="+etcdPeers, "--initial-advertise-peer-urls="+etcdPeers,
		"--initial-cluster=node="+etcdPeers)
}

func apiServer(network layout.Network) []string {
	return program("kube-apiserver",
		"--etcd-servers="+etcdClients,
		"--advertise-address="+network.Node.String(), "--secure-port=6443",
		"--service-cluster-ip-range="+network.Services.String(),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		// Whether a pod may be privileged is the namespace's to say, as elsewhere.
		"--allow-privileged=true",
		"--client-ca-file="+pki("ca.crt"),
		"--tls-cert-file="+pki("apiserver.crt"), "--tls-private-key-file="+pki("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+pki("service-accounts.pub"),
		"--service-account-signing-key-file="+pki("service-accounts.key"),
		"--kubelet-certificate-authority="+pki("ca.crt"),
		"--kubelet-client-certificate="+pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key="+pki("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file="+pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file="+pki("front-proxy-client.crt"),
		"--proxy-client-key-file="+pki("front-proxy-client.key"),
		"--enable-aggregator-routing=true", "--profiling=false")
}

// withoutElection: there is one of each.
var withoutElection = []string{"--leader-elect=false"}

// control is a program that talks to the API server a lot: with the usual limits, the first service accounts
// would come seconds later.
func control(name string) []string {
	config := kubeconfig(name)
	return program(name,
		"--kubeconfig="+config, "--authentication-kubeconfig="+config, "--authorization-kubeconfig="+config,
		"--kube-api-qps=1000", "--kube-api-burst=1000", "--bind-address=127.0.0.1")
}

func controllerManager(network layout.Network) []string {
	command := append(control("kube-controller-manager"), withoutElection...)
	return append(command,
		"--root-ca-file="+pki("ca.crt"),
		"--service-account-private-key-file="+pki("service-accounts.key"),
		"--use-service-account-credentials=true",
		"--cluster-signing-cert-file="+pki("ca.crt"), "--cluster-signing-key-file="+pki("ca.key"),
		"--allocate-node-cidrs=true", "--cluster-cidr="+network.Pods.String(),
		fmt.Sprintf("--node-cidr-mask-size=%d", network.Pods.Bits()),
		"--service-cluster-ip-range="+network.Services.String())
}

func kubelet(cluster layout.Cluster, network layout.Network) []string {
	return program("kubelet",
		"--config="+layout.InNode("config", "kubelet.yaml"), "--kubeconfig="+kubeconfig("kubelet"),
		"--root-dir="+layout.InNode("kubelet"), "--cert-dir="+layout.InNode("kubelet", "pki"),
		"--hostname-override="+cluster.Node(), "--node-ip="+network.Node.String())
}
