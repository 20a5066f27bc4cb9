package live

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"apocryph/testbed/cluster/image"
)

// registry serves one image to whoever knows the password, by plain HTTP on the host's end of the wire.
type registry struct {
	blobs    map[string][]byte
	manifest string
}

const user, password = "tenant", "secret"

func newRegistry(t *testing.T, archive []byte) (address, reference string) {
	t.Helper()
	r := registry{blobs: map[string][]byte{}}
	r.read(t, archive)
	listener, err := net.Listen("tcp", environment["CLUSTER_HOST_ADDRESS"]+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	address = listener.Addr().String()
	return address, address + "/sample@" + r.manifest
}

// read takes an OCI archive apart.
func (r *registry) read(t *testing.T, archive []byte) {
	t.Helper()
	for reader := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if digest, isBlob := strings.CutPrefix(header.Name, "blobs/sha256/"); isBlob {
			r.blobs["sha256:"+digest] = content
		}
		if header.Name == "index.json" {
			var index struct{ Manifests []struct{ Digest string } }
			if err := json.Unmarshal(content, &index); err != nil {
				t.Fatal(err)
			}
			r.manifest = index.Manifests[0].Digest
		}
	}
}

func (r *registry) serve(response http.ResponseWriter, request *http.Request) {
	if name, given, _ := request.BasicAuth(); name != user || given != password {
		response.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		response.WriteHeader(http.StatusUnauthorized)
		return
	}
	digest := request.URL.Path[strings.LastIndexByte(request.URL.Path, '/')+1:]
	content, has := r.blobs[digest]
	if !has {
		http.NotFound(response, request)
		return
	}
	if digest == r.manifest {
		response.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	response.Header().Set("Docker-Content-Digest", digest)
	http.ServeContent(response, request, "", time.Time{}, bytes.NewReader(content))
}

// sample is an image that nobody else has.
func sample(t *testing.T, name string) []byte {
	t.Helper()
	made, err := image.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	made.Name = name
	made.Entries = append(made.Entries, image.Entry{Path: "www/" + t.Name(), Mode: 0o644, Content: []byte(name)})
	var archive bytes.Buffer
	if err := made.Write(&archive); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func TestTheNodePullsFromARegistryOnTheHost(t *testing.T) {
	address, reference := newRegistry(t, sample(t, "sample"))
	cluster(t, "registry", address)
	const space = "registry"
	namespace(t, space, "")
	pullSecret(t, space, address)
	without := strings.Replace(pulls(space, "without", reference), "{name: pull}", "", 1)
	apply(t, without, pulls(space, "with", reference))
	awaitReady(t, space, "with")
	awaitNoImage(t, space, "without", "401 Unauthorized")
}

// pulls is the text of a pod whose image is pulled, with the secret of the registry.
func pulls(space, name, reference string) string {
	text := strings.Replace(pod(space, name, serves), "testbed.local/busybox:1", reference, 1)
	text = strings.Replace(text, "imagePullPolicy: Never", "imagePullPolicy: Always", 1)
	return strings.Replace(text, "spec:", "spec:\n  imagePullSecrets: [{name: pull}]", 1)
}

// pullSecret gives a namespace what the registry asks for.
func pullSecret(t *testing.T, space, address string) {
	t.Helper()
	kubectl(t, "create", "secret", "docker-registry", "pull", "-n", space,
		"--docker-server="+address, "--docker-username="+user, "--docker-password="+password)
}

// awaitNoImage waits until a pod is told to have none, and why.
func awaitNoImage(t *testing.T, space, name, why string) {
	t.Helper()
	var said string
	eventually(t, name+" gets no image", func() bool {
		said = kubectl(t, "get", "pod", "-n", space, name, "-o", "jsonpath={.status.containerStatuses[0].state.waiting}")
		return strings.Contains(said, "ErrImagePull") || strings.Contains(said, "ImagePullBackOff")
	})
	if !strings.Contains(said, why) {
		t.Errorf("it gets none, but not for %q: %s", why, said)
	}
}

func TestAnImageIsImported(t *testing.T) {
	const reference = "testbed.local/imported:1"
	file := t.TempDir() + "/image.tar"
	if err := os.WriteFile(file, sample(t, reference), 0o644); err != nil {
		t.Fatal(err)
	}
	cluster(t, "import", file)
	const space = "imported"
	namespace(t, space, "")
	apply(t, strings.Replace(pod(space, "main", serves), "testbed.local/busybox:1", reference, 1))
	awaitReady(t, space, "main")
	page := fmt.Sprintf("http://127.0.0.1:8080/%s", t.Name())
	if said := kubectl(t, "exec", "-n", space, "main", "--", "wget", "-q", "-O", "-", page); said != reference {
		t.Errorf("got %q", said)
	}
}
