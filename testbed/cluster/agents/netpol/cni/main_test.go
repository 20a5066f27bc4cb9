package main

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

const arguments = "IgnoreUnknown=1;K8S_POD_NAMESPACE=tenant;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=1"

// agent answers one plugin with what it is given, and hands out what it heard.
func agent(t *testing.T, reply string) (socket string, heard chan map[string]string) {
	socket = filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	heard = make(chan map[string]string, 1)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		var pod map[string]string
		if json.NewDecoder(connection).Decode(&pod) == nil {
			heard <- pod
			connection.Write([]byte(reply))
		}
	}()
	return socket, heard
}

func input(socket string) *strings.Reader {
	return strings.NewReader(`{"cniVersion":"1.0.0","socket":"` + socket + `","prevResult":{"ips":[{"address":"10.1.0.5/24"}]}}`)
}

func TestAPodIsAnnouncedAndTheResultHandedOn(t *testing.T) {
	socket, heard := agent(t, "{}")
	result, err := run("ADD", arguments, input(socket), new(config))
	if err != nil || string(result) != `{"ips":[{"address":"10.1.0.5/24"}]}` {
		t.Fatalf("%s, %v", result, err)
	}
	pod := <-heard
	if pod["namespace"] != "tenant" || pod["name"] != "web" || pod["address"] != "10.1.0.5" {
		t.Errorf("the agent heard %v", pod)
	}
}

func TestAPodGetsNoNetworkWithoutRules(t *testing.T) {
	socket, _ := agent(t, `{"error":"nft is gone"}`)
	if _, err := run("ADD", arguments, input(socket), new(config)); err == nil || err.Error() != "nft is gone" {
		t.Errorf("got %v", err)
	}
	away := filepath.Join(t.TempDir(), "away.sock")
	if _, err := run("ADD", arguments, input(away), new(config)); err == nil {
		t.Error("a pod got a network without the agent")
	}
}

func TestAPodCanEndWithoutTheAgent(t *testing.T) {
	away := filepath.Join(t.TempDir(), "away.sock")
	if _, err := run("DEL", arguments, input(away), new(config)); err != nil {
		t.Error(err)
	}
}
