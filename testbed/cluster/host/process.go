package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"apocryph/testbed/cluster/layout"
)

const processFile = "node.process"

// process is the first process of a node: with it, everything in its namespaces ends.
type process struct {
	id int
	// born tells it from a later process of the same id, in clock ticks since the machine's start.
	born string
}

// identify looks at a process; there is none if it has ended, even if nobody has collected it.
func identify(id int) (process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return process{}, err
	}
	// The name is in parentheses and may contain anything; the state follows, as the third field.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	const state, born = 0, 19
	if len(fields) <= born || fields[state] == "Z" || fields[state] == "X" {
		return process{}, os.ErrProcessDone
	}
	return process{id: id, born: fields[born]}, nil
}

func (p process) alive() bool {
	found, err := identify(p.id)
	return err == nil && found == p
}

// end kills it and waits until it, and so everything in its namespaces, is gone.
func (p process) end(deadline time.Time) error {
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(p.id, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill the node, process %d: %w", p.id, err)
	}
	return poll(deadline, fmt.Sprintf("the end of the node, process %d", p.id), func() bool { return !p.alive() })
}

func save(cluster layout.Cluster, p process) error {
	return os.WriteFile(cluster.Path(processFile), fmt.Appendf(nil, "%d %s\n", p.id, p.born), 0o644)
}

// running is the node's first process; false if there is none.
func running(cluster layout.Cluster) (process, bool) {
	text, err := os.ReadFile(cluster.Path(processFile))
	if err != nil {
		return process{}, false
	}
	id, born, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	number, err := strconv.Atoi(id)
	p := process{id: number, born: born}
	return p, err == nil && p.alive()
}

// poll waits until something is so, or says what it waited for in vain.
func poll(deadline time.Time, what string, holds func() bool) error {
	for !holds() {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited in vain for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}
