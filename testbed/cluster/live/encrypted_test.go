package live

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// keyPair writes an RSA key into a folder.
func keyPair(t *testing.T, folder string) (private, public string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	half, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private, public = filepath.Join(folder, "private.pem"), filepath.Join(folder, "public.pem")
	for path, block := range map[string]*pem.Block{
		private: {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)},
		public:  {Type: "PUBLIC KEY", Bytes: half},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return private, public
}

// encrypted is an image that skopeo encrypted for a key.
func encrypted(t *testing.T, folder, public string) []byte {
	t.Helper()
	plain, secret := filepath.Join(folder, "plain.tar"), filepath.Join(folder, "secret.tar")
	// Its content is nobody else's: a layer that is already there in plain is used without any key.
	if err := os.WriteFile(plain, sample(t, "plain:"+rand.Text()), 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("skopeo", "copy", "--quiet", "--encryption-key", "jwe:"+public, "oci-archive:"+plain, "oci-archive:"+secret)
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("skopeo: %v: %s", err, said)
	}
	content, err := os.ReadFile(secret)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestTheNodeDecryptsImagesItHasTheKeyOf(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skipped: no skopeo")
	}
	folder := t.TempDir()
	private, public := keyPair(t, folder)
	address, reference := newRegistry(t, encrypted(t, folder, public))
	cluster(t, "registry", address)
	const space = "encrypted"
	namespace(t, space, "")
	pullSecret(t, space, address)
	apply(t, pulls(space, "early", reference))
	awaitNoImage(t, space, "early", "missing private key")
	cluster(t, "decrypt", private)
	apply(t, pulls(space, "late", reference))
	awaitReady(t, space, "late")
}
