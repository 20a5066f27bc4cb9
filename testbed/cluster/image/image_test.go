package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"testing"
)

// contents are the files of an archive by their names.
func contents(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for reader := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeSymlink {
			files[header.Name] = []byte("-> " + header.Linkname)
		}
	}
}

type reference struct{ Digest string }

// follow reads the blob that a descriptor names.
func follow(t *testing.T, files map[string][]byte, to reference, into any) []byte {
	t.Helper()
	content, has := files["blobs/sha256/"+to.Digest[len("sha256:"):]]
	if !has || digest(content) != to.Digest {
		t.Fatalf("no blob %s", to.Digest)
	}
	if into != nil {
		if err := json.Unmarshal(content, into); err != nil {
			t.Fatal(err)
		}
	}
	return content
}

func TestEveryBlobIsWhereItsDescriptorSays(t *testing.T) {
	made := Image{Name: "x.test/a:1", Entrypoint: []string{"/run"}, Entries: []Entry{
		{Path: "bin", Mode: 0o755},
		{Path: "bin/run", Mode: 0o755, Content: []byte("program")},
		{Path: "run", Link: "bin/run"},
	}}
	var archive bytes.Buffer
	if err := made.Write(&archive); err != nil {
		t.Fatal(err)
	}
	files := contents(t, archive.Bytes())
	var index struct {
		Manifests []struct {
			reference
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	if name := index.Manifests[0].Annotations["io.containerd.image.name"]; name != made.Name {
		t.Errorf("it is called %q", name)
	}
	var manifest struct {
		Config reference
		Layers []reference
	}
	follow(t, files, index.Manifests[0].reference, &manifest)
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	follow(t, files, manifest.Config, &config)
	if config.RootFS.DiffIDs[0] != manifest.Layers[0].Digest {
		t.Error("the layer is another than the one of the configuration")
	}
	layer := contents(t, follow(t, files, manifest.Layers[0], nil))
	if string(layer["bin/run"]) != "program" || string(layer["run"]) != "-> bin/run" {
		t.Errorf("the layer has %q", layer)
	}
}
