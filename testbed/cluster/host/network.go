package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"apocryph/testbed/cluster/layout"
)

// connect lays a wire between the host and a node, over a range that nobody uses, and leads the ways to
// pods and services into it.
func connect(cluster layout.Cluster, node process) (layout.Network, error) {
	network, err := choose()
	if err != nil {
		return network, err
	}
	if err := cluster.SaveNetwork(network); err != nil {
		return network, err
	}
	link, id := network.Link, fmt.Sprint(node.id)
	steps := [][]string{
		{"link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", id},
		{"link", "set", link, "alias", owner(cluster)},
		{"address", "add", fmt.Sprintf("%s/%d", network.Host, network.Wire.Bits()), "dev", link},
		{"link", "set", link, "up"},
		{"route", "add", network.Pods.String(), "via", network.Node.String()},
		{"route", "add", network.Services.String(), "via", network.Node.String()},
	}
	for _, step := range steps {
		if err := ip(step...); err != nil {
			return network, err
		}
	}
	return network, nil
}

// owner marks a link as a cluster's.
func owner(cluster layout.Cluster) string { return "apocryph cluster " + cluster.Name }

// disconnect takes the wire away. The kernel would, but only when the last of the node's connections is
// forgotten, which may take minutes. If meanwhile the link has become another cluster's, it stays.
func disconnect(cluster layout.Cluster) error {
	network, err := layout.ReadNetwork(cluster.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	link := "/sys/class/net/" + network.Link
	alias, err := os.ReadFile(link + "/ifalias")
	if errors.Is(err, fs.ErrNotExist) || (err == nil && strings.TrimSpace(string(alias)) != owner(cluster)) {
		return nil
	}
	if err != nil {
		return err
	}
	// The kernel may have been faster.
	if err := ip("link", "delete", network.Link); err != nil && exists(link) {
		return err
	}
	return nil
}

// choose finds a network that overlaps none of the host's routes.
func choose() (layout.Network, error) {
	taken, err := routes()
	if err != nil {
		return layout.Network{}, err
	}
	for index := range layout.Networks {
		network := layout.NetworkAt(uint8(index))
		if isFree(network, taken) {
			return network, nil
		}
	}
	return layout.Network{}, errors.New("no free range of addresses in 10.243.0.0/16 to 10.245.0.0/16: `ip route` tells who has them")
}

func isFree(network layout.Network, taken []netip.Prefix) bool {
	for _, range_ := range taken {
		// The whole of 10/8 behind some gateway is no hindrance: the clusters' ways are narrower.
		if range_.Bits() > 10 && network.Overlaps(range_) {
			return false
		}
	}
	return true
}

// routes are the ranges of all of the host's IPv4 routes.
func routes() ([]netip.Prefix, error) {
	text, err := exec.Command("ip", "-4", "-json", "route", "show", "table", "all").Output()
	if err != nil {
		return nil, fmt.Errorf("list the host's routes: %w", err)
	}
	var listed []struct{ Dst string }
	if err := json.Unmarshal(text, &listed); err != nil {
		return nil, fmt.Errorf("read the host's routes: %w", err)
	}
	var ranges []netip.Prefix
	for _, route := range listed {
		if !strings.Contains(route.Dst, "/") {
			route.Dst += "/32"
		}
		// What is not a range, such as `default`, takes none.
		if found, err := netip.ParsePrefix(route.Dst); err == nil {
			ranges = append(ranges, found)
		}
	}
	return ranges, nil
}

func ip(arguments ...string) error {
	said, err := exec.Command("ip", arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(string(said)))
	}
	return nil
}
