package live

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// second is the name of a cluster beside the one of these tests.
const second = "live-second"

// down takes the second cluster away, after which nothing of it may be left.
func down(t *testing.T) {
	t.Helper()
	if _, err := launchFor(second, "down"); err != nil {
		t.Fatal(explain(err))
	}
	if found := traces(t, second); len(found) > 0 {
		t.Errorf("left of a cluster that was taken away: %v", found)
	}
}

// firstProcess is the id of a node's first process, as the host sees it.
func firstProcess(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folderOf(name), "node.process"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTwoAtOnceBringUpOneAndItGoesWithoutATrace(t *testing.T) {
	before := shared(t)
	var said [2]string
	var failed [2]error
	var waiting sync.WaitGroup
	for i := range said {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			said[i], failed[i] = launchFor(second, "up")
		}()
	}
	waiting.Wait()
	if err := errors.Join(explain(failed[0]), explain(failed[1])); err != nil {
		t.Fatal(err)
	}
	if said[0] != said[1] || said[0] == "" {
		t.Errorf("one says %q, the other %q", said[0], said[1])
	}
	down(t)
	if after := shared(t); !maps.Equal(before, after) {
		t.Errorf("the host had %v and has %v", before, after)
	}
}

func TestWhatWasKilledIsTakenAwayAndComesUpAgain(t *testing.T) {
	if _, err := launchFor(second, "up"); err != nil {
		t.Fatal(explain(err))
	}
	if err := syscall.Kill(firstProcess(t, second), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := launchFor(second, "up"); err != nil {
		t.Fatal(explain(err))
	}
	if err := syscall.Kill(firstProcess(t, second), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	down(t)
	// Once more: there is nothing to take away.
	down(t)
}

// TestBringingUpCanBeCutOff kills `up` at the moments when it has made each of these files.
func TestBringingUpCanBeCutOff(t *testing.T) {
	for _, file := range []string{"bin/kubernetes", "node.process", "network.json", "pki/ca.crt", "log/etcd.log"} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			command := launcher(second, "up")
			// A group of its own, so that the launcher's children can be killed with it.
			command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, file, func() bool {
				_, err := os.Lstat(filepath.Join(folderOf(second), file))
				return err == nil
			})
			if err := syscall.Kill(-command.Process.Pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := command.Wait(); !errors.As(err, &exit) {
				t.Fatalf("it was not killed: %v", err)
			}
			down(t)
		})
	}
}

func TestComponentsThatAreKilledComeBack(t *testing.T) {
	const space = "lifecycle"
	namespace(t, space, "")
	apply(t, pod(space, "steady", serves))
	awaitReady(t, space, "steady")
	for _, component := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet", "kube-proxy", "netpol", "volumes",
	} {
		cluster(t, "restart", component)
	}
	apply(t, pod(space, "later", serves))
	eventually(t, "a new pod runs", func() bool {
		_, err := tryKubectl("", "wait", "-n", space, "--for=condition=Ready", "--timeout=1s", "pod/later")
		return err == nil
	})
	// Pods outlive what runs them.
	restarts := kubectl(t, "get", "pod", "-n", space, "steady", "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
	if restarts != "0" || !fetchFromHost(addressOf(t, space, "steady")+":8080") {
		t.Errorf("the pod was restarted %s times", restarts)
	}
}

func TestAComponentThatIsStoppedStaysSo(t *testing.T) {
	cluster(t, "stop", "kube-scheduler")
	t.Cleanup(func() { cluster(t, "start", "kube-scheduler") })
	if said := cluster(t, "status"); !strings.Contains(said, "kube-scheduler           stopped") {
		t.Error(said)
	}
	if _, err := launch("stop", "nonsense"); err == nil {
		t.Error("there is no such component")
	}
}

func TestOneThatRunsIsToldSoAtOnce(t *testing.T) {
	first := firstProcess(t, name)
	if said := cluster(t, "up"); !strings.Contains(said, "KUBECONFIG="+environment["KUBECONFIG"]) {
		t.Error(said)
	}
	if firstProcess(t, name) != first {
		t.Error("the node is another")
	}
}
