package layout

import (
	"net/netip"
	"testing"
)

func TestNamesAreSafeInPathsAndHostNames(t *testing.T) {
	for _, name := range []string{"default", "a", "live-2"} {
		if _, err := Named(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "-a", "A", "../x", "a/b", "a b", "abcdefghijklmnopqrstu"} {
		if _, err := Named(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestNetworksOfClustersDoNotOverlap(t *testing.T) {
	first, second := NetworkAt(0), NetworkAt(1)
	for _, range_ := range []netip.Prefix{second.Wire, second.Pods, second.Services} {
		if first.Overlaps(range_) {
			t.Errorf("%s", range_)
		}
	}
	if !first.Overlaps(netip.MustParsePrefix("10.244.0.8/32")) {
		t.Error("a pod's address is free")
	}
}

func TestAddressesAreThoseOfTheirRanges(t *testing.T) {
	network := NetworkAt(7)
	for name, pair := range map[string][2]netip.Addr{
		"the first service": {network.APIService(), netip.MustParseAddr("10.245.7.1")},
		"names":             {network.DNSService(), netip.MustParseAddr("10.245.7.10")},
		"the node":          {network.Node, netip.MustParseAddr("10.243.7.2")},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %s", name, pair[0])
		}
	}
}

func TestANetworkIsReadAsItWasSaved(t *testing.T) {
	cluster := Cluster{Name: "x", Folder: t.TempDir()}
	if err := cluster.SaveNetwork(NetworkAt(3)); err != nil {
		t.Fatal(err)
	}
	if found, err := ReadNetwork(cluster.Folder); err != nil || found != NetworkAt(3) {
		t.Errorf("%v, %v", found, err)
	}
}
