// Package image writes container images without a registry or an engine.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"runtime"
	"strings"
)

// Entry is a file, folder or link of an image.
type Entry struct {
	// Path is absolute in the image, without the slash in front.
	Path string
	Mode int64
	// Content is a file's; Link is where a symbolic link leads. A folder has neither.
	Content []byte
	Link    string
}

// Image is one of a single layer.
type Image struct {
	// Name is the full one, with a tag.
	Name       string
	Entrypoint []string
	Command    []string
	Entries    []Entry
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
	indexType    = "application/vnd.oci.image.index.v1+json"
)

type object = map[string]any

// Write writes an archive in the OCI image layout, which `ctr images import` and skopeo's `oci-archive:` read.
func (i Image) Write(to io.Writer) error {
	layer, err := archive(i.Entries)
	if err != nil {
		return err
	}
	config, err := json.Marshal(i.config(layer))
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(object{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": descriptor(configType, config), "layers": []object{descriptor(layerType, layer)},
	})
	if err != nil {
		return err
	}
	index, err := json.Marshal(i.index(manifest))
	if err != nil {
		return err
	}
	whole, err := archive([]Entry{
		{Path: "oci-layout", Mode: 0o644, Content: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{Path: "index.json", Mode: 0o644, Content: index},
		blob(config), blob(manifest), blob(layer),
	})
	if err != nil {
		return err
	}
	_, err = to.Write(whole)
	return err
}

func (i Image) config(layer []byte) object {
	return object{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": object{
			"Env":        []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
			"Entrypoint": i.Entrypoint, "Cmd": i.Command,
		},
		"rootfs": object{"type": "layers", "diff_ids": []string{digest(layer)}},
	}
}

func (i Image) index(manifest []byte) object {
	only := descriptor(manifestType, manifest)
	only["annotations"] = object{"io.containerd.image.name": i.Name}
	only["platform"] = object{"architecture": runtime.GOARCH, "os": "linux"}
	return object{"schemaVersion": 2, "mediaType": indexType, "manifests": []object{only}}
}

func blob(content []byte) Entry {
	return Entry{Path: "blobs/sha256/" + strings.TrimPrefix(digest(content), "sha256:"), Mode: 0o644, Content: content}
}

func descriptor(mediaType string, blob []byte) object {
	return object{"mediaType": mediaType, "digest": digest(blob), "size": len(blob)}
}

func digest(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func archive(entries []Entry) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, entry := range entries {
		if err := writer.WriteHeader(entry.header()); err != nil {
			return nil, err
		}
		if _, err := writer.Write(entry.Content); err != nil {
			return nil, err
		}
	}
	err := writer.Close()
	return buffer.Bytes(), err
}

func (e Entry) header() *tar.Header {
	header := &tar.Header{Name: e.Path, Mode: e.Mode, Size: int64(len(e.Content)), Typeflag: tar.TypeReg}
	switch {
	case e.Link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.Link
	case e.Content == nil:
		header.Typeflag, header.Name = tar.TypeDir, e.Path+"/"
	}
	return header
}
