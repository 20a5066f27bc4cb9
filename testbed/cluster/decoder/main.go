// decoder is containerd's stream processor for encrypted layers of images: a layer comes in by the standard
// input and leaves, decrypted, by the standard output. What it is told about the layer comes by file 3.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containers/ocicrypt"
	"github.com/containers/ocicrypt/config"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// payloadType is what containerd calls its message about a layer.
const payloadType = "io.containerd.ocicrypt.v1.Payload"

// payload is containerd's message: how to decrypt, and which layer.
type payload struct {
	DecryptConfig config.DecryptConfig
	Descriptor    ocispec.Descriptor
}

func main() {
	keys := flag.String("keys", "", "a folder of private keys")
	flag.Parse()
	if err := run(*keys, os.NewFile(3, "payload"), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "decoder:", err)
		os.Exit(1)
	}
}

func run(keys string, about, encrypted io.Reader, plain io.Writer) error {
	layer, err := read(about)
	if err != nil {
		return fmt.Errorf("message about the layer: %w", err)
	}
	how, err := decryption(layer, keys)
	if err != nil {
		return err
	}
	reader, _, err := ocicrypt.DecryptLayer(how.DecryptConfig, encrypted, layer.Descriptor, false)
	if err != nil {
		return err
	}
	_, err = io.Copy(plain, reader)
	return err
}

func read(from io.Reader) (layer payload, err error) {
	text, err := io.ReadAll(from)
	if err != nil {
		return layer, err
	}
	var message anypb.Any
	if err := proto.Unmarshal(text, &message); err != nil {
		return layer, err
	}
	if message.TypeUrl != payloadType {
		return layer, fmt.Errorf("its type is %q", message.TypeUrl)
	}
	return layer, json.Unmarshal(message.Value, &layer)
}

// decryption is what containerd tells of keys, and the keys of the folder.
func decryption(layer payload, folder string) (config.CryptoConfig, error) {
	told := config.InitDecryption(layer.DecryptConfig.Parameters)
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || folder == "" || len(files) == 0 {
		return told, err
	}
	var keys [][]byte
	for _, file := range files {
		key, err := os.ReadFile(file)
		if err != nil {
			return told, err
		}
		keys = append(keys, key)
	}
	// None has a password.
	own, err := config.DecryptWithPrivKeys(keys, make([][]byte, len(keys)))
	return config.CombineCryptoConfigs([]config.CryptoConfig{own, told}), err
}
