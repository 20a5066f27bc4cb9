package node

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"

	"apocryph/testbed/cluster/layout"
)

// Status is how a node is.
type Status struct {
	// Steps are what has been done to bring it up, as lines to print.
	Steps []string
	// Ready says that it can be used; Failure says why it will never be.
	Ready      bool
	Failure    string
	Components []ComponentStatus
}

// ComponentStatus is how one of the node's programs is.
type ComponentStatus struct {
	Name string
	// Process is its id inside the node, 0 while it does not run.
	Process int
	Starts  int
}

// supervisor runs the node's components.
type supervisor struct {
	cluster   layout.Cluster
	network   layout.Network
	order     []string
	processes map[string]*process

	mutex   sync.Mutex
	steps   []string
	ready   bool
	failure string
}

// Supervise brings the node's components up and keeps them running, until it is killed.
func Supervise(cluster layout.Cluster) error {
	network, err := layout.ReadNetwork(layout.InNode())
	if err != nil {
		return err
	}
	s := &supervisor{cluster: cluster, network: network, processes: map[string]*process{}}
	for _, component := range components(cluster, network) {
		s.order = append(s.order, component.name)
		s.processes[component.name] = newProcess(component.name, component.command)
	}
	listener, err := net.Listen("unix", Socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(Socket, 0o600); err != nil {
		return err
	}
	go s.bringUp()
	return http.Serve(listener, s.routes())
}

func (s *supervisor) start(names ...string) {
	for _, name := range names {
		s.processes[name].Start()
	}
}

func (s *supervisor) status() Status {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	status := Status{Steps: s.steps, Ready: s.ready, Failure: s.failure}
	for _, name := range s.order {
		status.Components = append(status.Components, s.processes[name].state())
	}
	return status
}

// bringUp takes the steps until all are done or one fails.
func (s *supervisor) bringUp() {
	for _, step := range s.bootstrap() {
		err := step.do()
		s.mutex.Lock()
		if err != nil {
			s.failure = fmt.Sprintf("%s: %v", step.name, err)
			s.mutex.Unlock()
			return
		}
		s.steps = append(s.steps, step.name)
		s.mutex.Unlock()
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.ready = true
}
