package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containers/ocicrypt"
	"github.com/containers/ocicrypt/config"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const secret = "a layer"

// key is a new one: its public half, and a folder with the private one.
func key(t *testing.T) (public []byte, folder string) {
	t.Helper()
	made, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	half, err := x509.MarshalPKIXPublicKey(&made.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(made)})
	if err := os.WriteFile(filepath.Join(folder, "key"), private, 0o600); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: half}), folder
}

// encrypt makes a layer for a key, with containerd's message about it.
func encrypt(t *testing.T, public []byte) (layer, message []byte) {
	t.Helper()
	plain := ocispec.Descriptor{Digest: digest.FromString(secret), Size: int64(len(secret))}
	how, err := config.EncryptWithJwe([][]byte{public})
	if err != nil {
		t.Fatal(err)
	}
	reader, finish, err := ocicrypt.EncryptLayer(how.EncryptConfig, strings.NewReader(secret), plain)
	if err != nil {
		t.Fatal(err)
	}
	if layer, err = io.ReadAll(reader); err != nil {
		t.Fatal(err)
	}
	annotations, err := finish()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(payload{Descriptor: ocispec.Descriptor{Annotations: annotations}})
	if err != nil {
		t.Fatal(err)
	}
	message, err = proto.Marshal(&anypb.Any{TypeUrl: payloadType, Value: text})
	if err != nil {
		t.Fatal(err)
	}
	return layer, message
}

func TestTheKeyDecryptsAndNoOther(t *testing.T) {
	public, folder := key(t)
	_, other := key(t)
	layer, message := encrypt(t, public)
	var plain bytes.Buffer
	if err := run(folder, bytes.NewReader(message), bytes.NewReader(layer), &plain); err != nil || plain.String() != secret {
		t.Errorf("%q, %v", plain.String(), err)
	}
	for name, keys := range map[string]string{"another key": other, "an empty folder": t.TempDir(), "no folder": ""} {
		if err := run(keys, bytes.NewReader(message), bytes.NewReader(layer), io.Discard); err == nil {
			t.Errorf("%s decrypts", name)
		}
	}
}

func TestALayerThatWasChangedIsRefused(t *testing.T) {
	public, folder := key(t)
	layer, message := encrypt(t, public)
	layer[0] ^= 1
	if err := run(folder, bytes.NewReader(message), bytes.NewReader(layer), io.Discard); err == nil {
		t.Error("it was taken")
	}
}

func TestAnotherMessageIsRefused(t *testing.T) {
	message, err := proto.Marshal(&anypb.Any{TypeUrl: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if err := run("", bytes.NewReader(message), strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Error(err)
	}
}
