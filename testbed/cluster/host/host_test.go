package host

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"apocryph/testbed/cluster/layout"
)

func TestARangeThatSomeoneUsesIsNotFree(t *testing.T) {
	network := layout.NetworkAt(2)
	for text, free := range map[string]bool{
		"10.244.2.17/32": false, "10.245.0.0/16": false, "10.243.2.0/30": false,
		"10.244.3.0/24": true, "192.0.2.0/24": true, "10.0.0.0/8": true,
	} {
		if isFree(network, []netip.Prefix{netip.MustParsePrefix(text)}) != free {
			t.Errorf("beside %s free is not %v", text, free)
		}
	}
}

func TestAProcessIsKnownAgainAndItsEndIsSeen(t *testing.T) {
	command := exec.Command("sleep", "1000")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	first, err := identify(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	cluster := layout.Cluster{Name: "x", Folder: t.TempDir()}
	if err := save(cluster, first); err != nil {
		t.Fatal(err)
	}
	if found, runs := running(cluster); !runs || found != first {
		t.Errorf("found %v, %v", found, runs)
	}
	// It stays a zombie until it is waited for, below: that is an end as well.
	if err := first.end(time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if _, runs := running(cluster); runs {
		t.Error("it runs still")
	}
	if err := command.Wait(); err == nil {
		t.Error("it was not killed")
	}
}

func TestAnotherProcessOfTheSameIdIsNotTheNode(t *testing.T) {
	cluster := layout.Cluster{Name: "x", Folder: t.TempDir()}
	if err := save(cluster, process{id: os.Getpid(), born: "1"}); err != nil {
		t.Fatal(err)
	}
	if _, runs := running(cluster); runs {
		t.Error("this test is taken for a node")
	}
}

func TestTreesOfEmptyFoldersAreRemoved(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a")
	if err := os.MkdirAll(filepath.Join(root, "b", "c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if removeTree(root); exists(root) {
		t.Error("it is still there")
	}
}
