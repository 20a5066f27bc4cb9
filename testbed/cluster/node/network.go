package node

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"apocryph/testbed/cluster/layout"
)

// settings of the node's own network namespace. Policies are made for IPv4 alone: there is no other way.
var settings = map[string]string{
	"net/ipv4/ip_forward":                "1",
	"net/ipv6/conf/all/disable_ipv6":     "1",
	"net/ipv6/conf/default/disable_ipv6": "1",
}

// connect sets the node's end of the wire up.
func connect(network layout.Network) error {
	for name, value := range settings {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	steps := [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "address", "add", fmt.Sprintf("%s/%d", network.Node, network.Wire.Bits()), "dev", "eth0"},
		{"ip", "link", "set", "eth0", "up"},
		{"ip", "route", "add", "default", "via", network.Host.String()},
		{"nft", masquerade(network)},
	}
	for _, step := range steps {
		if said, err := exec.Command(step[0], step[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(step, " "), err, strings.TrimSpace(string(said)))
		}
	}
	return nil
}

// masquerade gives what pods send out of the cluster the node's address: nobody else knows a way to theirs.
func masquerade(network layout.Network) string {
	return fmt.Sprintf(`table ip node {
    chain outward {
        type nat hook postrouting priority srcnat;
        oifname "eth0" ip saddr %s masquerade
    }
}`, network.Pods)
}
