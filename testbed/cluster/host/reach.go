package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"apocryph/testbed/cluster/layout"
	"apocryph/testbed/cluster/node"
)

// inside is how the host sees a path of the node: its root is reached by way of its first process.
func inside(cluster layout.Cluster, path string) (string, error) {
	first, runs := running(cluster)
	if !runs {
		return "", fmt.Errorf("cluster %s does not run: make cluster", cluster.Name)
	}
	return fmt.Sprintf("/proc/%d/root%s", first.id, path), nil
}

// ask sends a request to the node's supervisor.
func ask(cluster layout.Cluster, method, path string) ([]byte, error) {
	socket, err := inside(cluster, node.Socket)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	request, err := http.NewRequest(method, "http://node"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", strings.TrimSpace(string(body)))
	}
	return body, err
}

// Status asks the node how it is.
func Status(cluster layout.Cluster) (status node.Status, err error) {
	body, err := ask(cluster, http.MethodGet, "/status")
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal(body, &status)
}

// Control stops, starts or restarts a component of the node.
func Control(cluster layout.Cluster, component, verb string) error {
	_, err := ask(cluster, http.MethodPost, "/components/"+component+"/"+verb)
	return err
}
