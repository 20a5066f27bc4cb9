package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// patience is how long a pod's network waits for the pod to be known here. The kubelet tries again.
const patience = 5 * time.Second

// announcement is what the CNI plugin tells of a pod: its address, or none when its network ends.
type announcement struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Address   string `json:"address"`
}

// answer is empty when the rules for the pod are in force.
type answer struct {
	Error string `json:"error"`
}

// listen makes the socket anew: a former agent's is of no use.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(path, 0o600)
}

// serve answers the CNI plugin until the end.
func (a *agent) serve(ctx context.Context, listener net.Listener) {
	for ctx.Err() == nil {
		connection, err := listener.Accept()
		if err != nil {
			log.Printf("accept: %v", err)
			continue
		}
		go a.converse(ctx, connection)
	}
}

func (a *agent) converse(ctx context.Context, connection net.Conn) {
	defer connection.Close()
	limit, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	var reply answer
	var heard announcement
	err := json.NewDecoder(connection).Decode(&heard)
	if err == nil {
		err = a.announce(limit, heard)
	}
	if err != nil {
		reply.Error = err.Error()
		log.Printf("pod %s/%s at %s: %v", heard.Namespace, heard.Name, heard.Address, err)
	}
	// Who has hung up wants no answer.
	_ = json.NewEncoder(connection).Encode(reply)
}

// announce puts the rules for a pod in force before anything of it runs.
func (a *agent) announce(ctx context.Context, heard announcement) error {
	key := podKey{heard.Namespace, heard.Name}
	if heard.Address == "" {
		a.remember(key, netip.Addr{})
		a.notice()
		return nil
	}
	address, err := netip.ParseAddr(heard.Address)
	if err != nil {
		return err
	}
	if err := a.await(ctx, key); err != nil {
		return err
	}
	a.remember(key, address)
	return a.apply()
}

func (a *agent) remember(key podKey, address netip.Addr) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if address.IsValid() {
		a.announced[key] = address
	} else {
		delete(a.announced, key)
	}
}

// await returns when the watch has told of the pod. The kubelet may hear of it first.
func (a *agent) await(ctx context.Context, key podKey) error {
	deadline := time.Now().Add(patience)
	for {
		_, err := a.pods.Pods(key.namespace).Get(key.name)
		if err == nil || !apierrors.IsNotFound(err) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no such pod after %s", patience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
