// netpol-cni is the last CNI plugin of a pod's network: it holds the pod back until the agent has put the
// rules for its address in force. Without the agent no pod gets a network.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// patience is more than the agent's own, so that its reasons are heard.
const patience = 15 * time.Second

// config is the plugin's part of the network's configuration, with the result of the plugins before it.
type config struct {
	Version string          `json:"cniVersion"`
	Socket  string          `json:"socket"`
	Result  json.RawMessage `json:"prevResult"`
}

func main() {
	var conf config
	result, err := run(os.Getenv("CNI_COMMAND"), os.Getenv("CNI_ARGS"), os.Stdin, &conf)
	if err == nil {
		os.Stdout.Write(result)
		return
	}
	// Code 11 asks to try again later.
	failure := map[string]any{"cniVersion": conf.Version, "code": 11, "msg": "netpol: " + err.Error()}
	// Nothing is left to tell a caller who does not listen.
	_ = json.NewEncoder(os.Stdout).Encode(failure)
	os.Exit(1)
}

func run(command, arguments string, input io.Reader, conf *config) ([]byte, error) {
	if command == "VERSION" {
		return []byte(`{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}`), nil
	}
	if err := json.NewDecoder(input).Decode(conf); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	pod := podOf(arguments)
	switch command {
	case "ADD":
		var err error
		if pod["address"], err = address(conf.Result); err != nil {
			return nil, err
		}
		return conf.Result, announce(conf.Socket, pod)
	case "DEL":
		// The address goes with the pod. An agent that is away hears of it from the API server.
		_ = announce(conf.Socket, pod)
	}
	return nil, nil
}

// podOf finds the pod in the runtime's arguments, `KEY=value;KEY=value`.
func podOf(arguments string) map[string]string {
	pod := map[string]string{}
	for _, argument := range strings.Split(arguments, ";") {
		switch key, value, _ := strings.Cut(argument, "="); key {
		case "K8S_POD_NAMESPACE":
			pod["namespace"] = value
		case "K8S_POD_NAME":
			pod["name"] = value
		}
	}
	return pod
}

// address is the pod's IPv4 address in the result of the plugins before.
func address(result json.RawMessage) (string, error) {
	var parsed struct {
		IPs []struct{ Address string } `json:"ips"`
	}
	if err := json.Unmarshal(result, &parsed); err != nil {
		return "", fmt.Errorf("result of the plugins before: %w", err)
	}
	for _, found := range parsed.IPs {
		if ip, _, err := net.ParseCIDR(found.Address); err == nil && ip.To4() != nil {
			return ip.String(), nil
		}
	}
	return "", errors.New("the plugins before gave no IPv4 address")
}

func announce(socket string, pod map[string]string) error {
	connection, err := net.DialTimeout("unix", socket, patience)
	if err != nil {
		return fmt.Errorf("the agent is away: %w", err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := json.NewEncoder(connection).Encode(pod); err != nil {
		return err
	}
	var answer struct{ Error string }
	if err := json.NewDecoder(connection).Decode(&answer); err != nil {
		return fmt.Errorf("the agent gave no answer: %w", err)
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return nil
}
