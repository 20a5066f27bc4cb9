package node

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"apocryph/testbed/cluster/layout"
)

// Between two starts of a component that keeps ending.
const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 3 * time.Second
)

// process keeps a component running while that is wanted.
//
//	       Start                     ended
//	idle --------> running ------------------> pausing
//	 ^               ^ \                        /  |
//	 |               |  `---- Stop: killed ----'   |
//	 |               `-----------------------------'
//	 `--- ended, and not wanted
type process struct {
	name    string
	command []string

	mutex   sync.Mutex
	changed *sync.Cond
	wanted  bool
	running *os.Process
	starts  int
}

func newProcess(name string, command []string) *process {
	p := &process{name: name, command: command}
	p.changed = sync.NewCond(&p.mutex)
	go p.keep()
	return p
}

// Start wants the component to run.
func (p *process) Start() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.wanted = true
	p.changed.Broadcast()
}

// Stop kills the component and returns when it has ended. It stays so until it is started.
func (p *process) Stop() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.wanted = false
	p.kill()
	for p.running != nil {
		p.changed.Wait()
	}
}

// kill ends what runs. One that has ended already is what is wanted.
func (p *process) kill() {
	if p.running != nil {
		_ = p.running.Signal(syscall.SIGKILL)
	}
}

// state tells whether it runs, as which process of the node, and how often it was started.
func (p *process) state() ComponentStatus {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	status := ComponentStatus{Name: p.name, Starts: p.starts}
	if p.running != nil {
		status.Process = p.running.Pid
	}
	return status
}

// keep starts it again and again, later each time while it ends at once.
func (p *process) keep() {
	pause := shortestPause
	for {
		command, err := p.next()
		began := time.Now()
		if err == nil {
			err = command.Wait()
		}
		p.ended(err)
		if time.Since(began) > longestPause {
			pause = shortestPause
		}
		time.Sleep(pause)
		pause = min(2*pause, longestPause)
	}
}

// next waits until it is wanted, and starts it.
func (p *process) next() (*exec.Cmd, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for !p.wanted {
		p.changed.Wait()
	}
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(p.command[0], p.command[1:]...)
	command.Stdout, command.Stderr, command.Dir = log, log, "/"
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p.starts++
	if err := command.Start(); err != nil {
		return nil, err
	}
	p.running = command.Process
	return command, nil
}

func (p *process) log() string { return layout.InNode("log", p.name+".log") }

func (p *process) ended(err error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	fmt.Printf("%s %s ended: %v\n", time.Now().Format(time.RFC3339), p.name, err)
	p.running = nil
	p.changed.Broadcast()
}
