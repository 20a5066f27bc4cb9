package image

import (
	"os"
	"os/exec"
	"strings"
)

// What the node's own images are called. No registry has them: they are imported.
const (
	PauseName   = "testbed.local/pause:1"
	BusyboxName = "testbed.local/busybox:1"
	CoreDNSName = "testbed.local/coredns:1"
)

// Program is an image of one static program.
func Program(name, path string) (Image, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Image{}, err
	}
	const inside = "program"
	entries := []Entry{{Path: inside, Mode: 0o755, Content: content}}
	return Image{Name: name, Entrypoint: []string{"/" + inside}, Entries: entries}, nil
}

// Busybox is an image of Debian's static busybox with all of its applets, and a page for its httpd in /www.
func Busybox() (Image, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return Image{}, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return Image{}, err
	}
	applets, err := exec.Command(path, "--list").Output()
	if err != nil {
		return Image{}, err
	}
	entries := []Entry{
		{Path: "bin", Mode: 0o755},
		{Path: "bin/busybox", Mode: 0o755, Content: content},
		{Path: "tmp", Mode: 0o1777},
		{Path: "etc", Mode: 0o755},
		{Path: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")},
		{Path: "etc/group", Mode: 0o644, Content: []byte("root:x:0:\nnobody:x:65534:\n")},
		{Path: "www", Mode: 0o755},
		{Path: "www/index.html", Mode: 0o644, Content: []byte("hello from a pod\n")},
	}
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			entries = append(entries, Entry{Path: "bin/" + applet, Mode: 0o777, Link: "busybox"})
		}
	}
	return Image{Name: BusyboxName, Command: []string{"sh"}, Entries: entries}, nil
}
