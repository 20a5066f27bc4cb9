package host

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// hierarchies are the folders where cgroup file systems are mounted, of version 1 if there is one with
// controllers, else of version 2.
func hierarchies() ([]string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var first, second []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		switch kind, _, _ := strings.Cut(after, " "); kind {
		case "cgroup":
			first = append(first, fields[4])
		case "cgroup2":
			second = append(second, fields[4])
		}
	}
	if len(first) == 0 {
		first = second
	}
	if len(first) == 0 {
		return nil, errors.New("no cgroup file system is mounted")
	}
	return first, nil
}

// nodeCgroup has the node's own programs, beside the pods'.
const nodeCgroup = "node"

// makeCgroups makes the cluster's folders in every hierarchy.
func makeCgroups(name string) error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		for _, path := range []string{filepath.Join(folder, name), filepath.Join(folder, name, nodeCgroup)} {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			if err := inherit(filepath.Dir(path), path); err != nil {
				return err
			}
		}
	}
	return nil
}

// joinCgroups moves a process, and what it will start, out of the cgroups of whoever brings the cluster up.
func joinCgroups(name string, joining process) error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		file := filepath.Join(folder, name, nodeCgroup, "cgroup.procs")
		if err := os.WriteFile(file, fmt.Append(nil, joining.id), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// inherit gives a new folder of the cpuset hierarchy its parent's processors and memory: version 1 leaves
// them empty, and then no process may join.
func inherit(parent, path string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		content, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) || (err == nil && len(strings.TrimSpace(string(content))) == 0) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(path, file), content, 0o644); err != nil {
			return fmt.Errorf("set %s of %s: %w", file, path, err)
		}
	}
	return nil
}

// removeCgroups removes the folder and those below it; processes that were killed may take a moment to leave.
func removeCgroups(name string, deadline time.Time) error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		gone := func() bool { removeTree(path); return !exists(path) }
		if err := poll(deadline, "the end of everything in "+path, gone); err != nil {
			return err
		}
	}
	return nil
}

// removeTree removes folders from the bottom up, as far as they are empty.
func removeTree(path string) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if entry.IsDir() {
			removeTree(filepath.Join(path, entry.Name()))
		}
	}
	// Whether it went is looked at by whoever asked.
	_ = os.Remove(path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
