package pki

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"apocryph/testbed/cluster/layout"
)

func made(t *testing.T) (folder string, roots *x509.CertPool) {
	t.Helper()
	folder = t.TempDir()
	if err := Make(folder, "node", layout.NetworkAt(1)); err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(read(t, folder, "ca.crt")) {
		t.Fatal("no authority")
	}
	return folder, roots
}

func read(t *testing.T, folder, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestServersAreTrustedByTheNamesThatClientsUse(t *testing.T) {
	folder, roots := made(t)
	for file, names := range map[string][]string{
		"apiserver.crt":      {"10.243.1.2", "10.245.1.1", "kubernetes.default.svc"},
		"kubelet-server.crt": {"10.243.1.2", "node"},
	} {
		certificate := parse(t, read(t, folder, file))
		for _, name := range names {
			if _, err := certificate.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
				t.Errorf("%s as %s: %v", file, name, err)
			}
		}
	}
}

func TestKubeconfigsNameTheirUser(t *testing.T) {
	folder, roots := made(t)
	var config struct {
		Users []struct {
			User struct {
				Certificate []byte `json:"client-certificate-data"`
			}
		}
	}
	if err := json.Unmarshal(read(t, folder, "kubelet.kubeconfig"), &config); err != nil {
		t.Fatal(err)
	}
	certificate := parse(t, config.Users[0].User.Certificate)
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usage}); err != nil {
		t.Error(err)
	}
	if certificate.Subject.CommonName != "system:node:node" || certificate.Subject.Organization[0] != "system:nodes" {
		t.Errorf("it is %s", certificate.Subject)
	}
}

func TestKeysAreTheirOwnersAlone(t *testing.T) {
	folder, _ := made(t)
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file.Name(), info.Mode(), err)
		}
	}
}
