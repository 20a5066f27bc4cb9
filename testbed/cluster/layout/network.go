package layout

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// Network is what a cluster has of the machine's addresses.
type Network struct {
	// Link is the host's end of the wire to the node.
	Link string `json:"link"`
	// Host and Node are the addresses of its ends.
	Host netip.Addr `json:"host"`
	Node netip.Addr `json:"node"`
	// Wire, Pods and Services are the ranges that the cluster uses.
	Wire     netip.Prefix `json:"wire"`
	Pods     netip.Prefix `json:"pods"`
	Services netip.Prefix `json:"services"`
}

// Networks is how many clusters have a range of their own.
const Networks = 255

// NetworkAt is one of the networks that clusters choose from.
func NetworkAt(index uint8) Network {
	at := func(second, last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, second, index, last}) }
	return Network{
		Link:     fmt.Sprintf("apcluster%d", index),
		Host:     at(243, 1),
		Node:     at(243, 2),
		Wire:     netip.PrefixFrom(at(243, 0), 30),
		Pods:     netip.PrefixFrom(at(244, 0), 24),
		Services: netip.PrefixFrom(at(245, 0), 24),
	}
}

// Overlaps tells whether a range is in use by this network.
func (n Network) Overlaps(other netip.Prefix) bool {
	return n.Wire.Overlaps(other) || n.Pods.Overlaps(other) || n.Services.Overlaps(other)
}

// APIService is the address of the service `kubernetes`: the first of the range.
func (n Network) APIService() netip.Addr { return n.Services.Addr().Next() }

// DNSService is the address that pods ask for names: the tenth of the range, as is usual.
func (n Network) DNSService() netip.Addr {
	address := n.Services.Addr().As4()
	address[3] += 10
	return netip.AddrFrom4(address)
}

const networkFile = "network.json"

// SaveNetwork writes down which network the cluster has.
func (c Cluster) SaveNetwork(network Network) error {
	text, err := json.MarshalIndent(network, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.Path(networkFile), append(text, '\n'), 0o644)
}

// ReadNetwork reads which network a cluster has from its folder, wherever that is seen.
func ReadNetwork(folder string) (network Network, err error) {
	text, err := os.ReadFile(filepath.Join(folder, networkFile))
	if err != nil {
		return network, err
	}
	return network, json.Unmarshal(text, &network)
}
