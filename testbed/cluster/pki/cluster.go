package pki

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"

	"apocryph/testbed/cluster/layout"
)

// users are those who talk to the API server by a kubeconfig of their own, `<name>.kubeconfig`.
func users(node string) map[string]Subject {
	return map[string]Subject{
		"admin":                   {Name: "admin", Groups: []string{"system:masters"}},
		"kube-controller-manager": {Name: "system:kube-controller-manager"},
		"kube-scheduler":          {Name: "system:kube-scheduler"},
		"kube-proxy":              {Name: "system:kube-proxy"},
		"kubelet":                 {Name: "system:node:" + node, Groups: []string{"system:nodes"}},
		"netpol":                  {Name: "netpol"},
		"volumes":                 {Name: "volumes"},
	}
}

// Make writes every certificate, key and kubeconfig of a cluster into a folder.
func Make(folder, node string, network layout.Network) error {
	files := files{folder: folder}
	authority := files.authority("ca", "kubernetes")
	frontProxy := files.authority("front-proxy-ca", "front-proxy")
	files.tokens("service-accounts")
	files.issue(frontProxy, "front-proxy-client", Subject{Name: "front-proxy-client"})
	client := Subject{Name: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}}
	files.issue(authority, "apiserver-kubelet-client", client)
	files.issue(authority, "apiserver", apiServer(network))
	address := net.IP(network.Node.AsSlice())
	server := Subject{Name: node, DNSNames: []string{node}, Addresses: []net.IP{address}}
	files.issue(authority, "kubelet-server", server)
	for name, user := range users(node) {
		files.kubeconfig(authority, name, user, "https://"+network.Node.String()+":6443")
	}
	return files.err
}

func apiServer(network layout.Network) Subject {
	service := "kubernetes.default.svc"
	return Subject{
		Name:     "kube-apiserver",
		DNSNames: []string{"kubernetes", "kubernetes.default", service, service + ".cluster.local"},
		Addresses: []net.IP{
			network.Node.AsSlice(), network.APIService().AsSlice(), net.IPv4(127, 0, 0, 1),
		},
	}
}

// files writes into a folder until something fails.
type files struct {
	folder string
	err    error
}

func (f *files) write(name string, content []byte) {
	if f.err == nil {
		f.err = os.WriteFile(filepath.Join(f.folder, name), content, 0o600)
	}
}

func (f *files) pair(name string, pair Pair) {
	f.write(name+".crt", pair.Certificate)
	f.write(name+".key", pair.Key)
}

func (f *files) authority(name, subject string) *Authority {
	if f.err != nil {
		return nil
	}
	var authority *Authority
	if authority, f.err = NewAuthority(subject); f.err != nil {
		return nil
	}
	f.pair(name, authority.Pair)
	return authority
}

func (f *files) tokens(name string) {
	if f.err != nil {
		return
	}
	var private, public []byte
	private, public, f.err = NewKey()
	f.write(name+".key", private)
	f.write(name+".pub", public)
}

func (f *files) issue(authority *Authority, name string, subject Subject) {
	f.pair(name, f.signed(authority, subject))
}

func (f *files) signed(authority *Authority, subject Subject) (pair Pair) {
	if f.err == nil {
		pair, f.err = authority.Issue(subject)
	}
	return pair
}

func (f *files) kubeconfig(authority *Authority, name string, user Subject, server string) {
	pair := f.signed(authority, user)
	if f.err != nil {
		return
	}
	var text []byte
	text, f.err = Kubeconfig(server, authority.Certificate, pair)
	f.write(name+".kubeconfig", text)
}

// Kubeconfig lets the owner of a certificate talk to a server. It is JSON, which YAML's readers read.
func Kubeconfig(server string, authority []byte, user Pair) ([]byte, error) {
	type object = map[string]any
	const name = "apocryph"
	config := object{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": name,
		"clusters": []object{{"name": name, "cluster": object{
			"server": server, "certificate-authority-data": authority,
		}}},
		"users": []object{{"name": name, "user": object{
			"client-certificate-data": user.Certificate, "client-key-data": user.Key,
		}}},
		"contexts": []object{{"name": name, "context": object{"cluster": name, "user": name}}},
	}
	return json.MarshalIndent(config, "", "  ")
}
