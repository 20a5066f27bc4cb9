// Package live tests the test cluster itself, on one of its own.
package live

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// name is the cluster of these tests; others may run meanwhile.
const name = "live"

// lacking is the launcher's exit code where this machine cannot have a cluster.
const lacking = 77

// environment is what `cluster env` tells.
var environment = map[string]string{}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	said, err := launch("up")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == lacking {
		fmt.Println("skipped:", strings.TrimSpace(string(exit.Stderr)))
		return 0
	}
	if err != nil {
		fmt.Println(explain(err))
		return 1
	}
	learn(said)
	code := m.Run()
	if code != 0 && os.Getenv("KEEP") != "" {
		fmt.Println("kept: CLUSTER=" + name + " make cluster-down takes it away")
		return code
	}
	if _, err := launch("down"); err != nil {
		fmt.Println(explain(err))
		return 1
	}
	return code
}

// learn takes in lines of the form KEY=value.
func learn(lines string) {
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		key, value, _ := strings.Cut(line, "=")
		environment[key] = value
	}
}

// launch runs `cluster` for the cluster of these tests, and returns what it prints.
func launch(words ...string) (string, error) {
	return launchFor(name, words...)
}

func launchFor(name string, words ...string) (string, error) {
	said, err := launcher(name, words...).Output()
	return string(said), err
}

func launcher(name string, words ...string) *exec.Cmd {
	command := exec.Command("../cluster", words...)
	command.Env = append(os.Environ(), "CLUSTER="+name)
	return command
}

func explain(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}

// cluster runs `cluster`, which has to succeed.
func cluster(t *testing.T, words ...string) string {
	t.Helper()
	said, err := launch(words...)
	if err != nil {
		t.Fatalf("cluster %v: %v", words, explain(err))
	}
	return said
}

func tryKubectl(input string, words ...string) (string, error) {
	command := exec.Command(environment["KUBECTL"], append([]string{"--kubeconfig", environment["KUBECONFIG"]}, words...)...)
	command.Stdin = strings.NewReader(input)
	said, err := command.Output()
	return strings.TrimSpace(string(said)), explain(err)
}

// kubectl runs kubectl, which has to succeed.
func kubectl(t *testing.T, words ...string) string {
	t.Helper()
	said, err := tryKubectl("", words...)
	if err != nil {
		t.Fatalf("kubectl %v: %v", words, err)
	}
	return said
}

func apply(t *testing.T, objects ...string) {
	t.Helper()
	if _, err := tryKubectl(strings.Join(objects, "\n---\n"), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// within waits until something is so, and tells whether it came to be.
func within(patience time.Duration, holds func() bool) bool {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// eventually waits for what takes the cluster a moment.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if !within(time.Minute, holds) {
		t.Fatalf("waited in vain: %s", what)
	}
}

// namespace makes one for a test, with labels such as `team: a`.
func namespace(t *testing.T, name, labels string) {
	t.Helper()
	apply(t, fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {%s}}}", name, labels))
	t.Cleanup(func() {
		if _, err := tryKubectl("", "delete", "namespace", name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "a service account in "+name, func() bool {
		_, err := tryKubectl("", "get", "serviceaccount", "default", "-n", name)
		return err == nil
	})
}

// pod is the text of one that runs a line of shell in busybox, labelled by its name.
func pod(namespace, name, line string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {namespace: %s, name: %s, labels: {app: %s}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: testbed.local/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, %q]
    ports: [{name: http, containerPort: 8080}]
`, namespace, name, name, line)
}

const (
	serves = "httpd -f -p 8080 -h /www"
	idles  = "sleep 100000"
)

func awaitReady(t *testing.T, namespace string, pods ...string) {
	t.Helper()
	for _, pod := range pods {
		kubectl(t, "wait", "-n", namespace, "--for=condition=Ready", "--timeout=60s", "pod/"+pod)
	}
}

func addressOf(t *testing.T, namespace, pod string) string {
	t.Helper()
	return kubectl(t, "get", "-n", namespace, "pod", pod, "-o", "jsonpath={.status.podIP}")
}

// fetch asks for a page from within a pod, and tells whether it came. It gives up after a second.
func fetch(namespace, pod, address string) bool {
	_, err := tryKubectl("", "exec", "-n", namespace, pod, "--", "timeout", "1", "wget", "-q", "-O", "-", "http://"+address+"/")
	return err == nil
}

// fetchFromNode does so from the node itself, fetchFromHost from outside the cluster.
func fetchFromNode(address string) bool {
	_, err := launch("enter", "timeout", "1", "busybox", "wget", "-q", "-O", "-", "http://"+address+"/")
	return err == nil
}

func fetchFromHost(address string) bool {
	command := exec.Command("timeout", "1", "busybox", "wget", "-q", "-O", "-", "http://"+address+"/")
	said, err := command.Output()
	return err == nil && bytes.Contains(said, []byte("hello"))
}
