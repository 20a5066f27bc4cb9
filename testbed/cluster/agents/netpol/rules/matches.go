package rules

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// anything is the match that every packet meets.
const anything = ""

// peerMatches are nft's matches for a rule's peers, and the pods behind them.
func (v view) peerMatches(d direction, namespace string, peers []netv1.NetworkPolicyPeer) (matches []string, pods []Pod) {
	if len(peers) == 0 {
		return []string{anything}, v.Pods
	}
	for _, peer := range peers {
		if peer.IPBlock != nil {
			matches = append(matches, blockMatch(d, peer.IPBlock)...)
			continue
		}
		pods = append(pods, v.podsOf(namespace, peer)...)
	}
	if len(pods) > 0 {
		matches = append(matches, fmt.Sprintf("ip %s { %s }", d.peer, strings.Join(addresses(pods), ", ")))
	}
	return matches, pods
}

// blockMatch matches a range without its exceptions. Ranges of IPv6 match nothing.
func blockMatch(d direction, block *netv1.IPBlock) []string {
	range_, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !range_.Addr().Is4() {
		return nil
	}
	parts := []string{fmt.Sprintf("ip %s %s", d.peer, range_.Masked())}
	for _, except := range block.Except {
		// An exception that cannot be read must not let through what it was to keep out.
		without, err := netip.ParsePrefix(except)
		if err != nil || !without.Addr().Is4() {
			return nil
		}
		parts = append(parts, fmt.Sprintf("ip %s != %s", d.peer, without.Masked()))
	}
	return []string{strings.Join(parts, " ")}
}

// podsOf are the pods that a peer's selectors fit: of the policy's own namespace if it names none.
func (v view) podsOf(namespace string, peer netv1.NetworkPolicyPeer) (pods []Pod) {
	for name, labels := range v.Namespaces {
		if peer.NamespaceSelector == nil && name != namespace {
			continue
		}
		if peer.NamespaceSelector != nil && !selects(peer.NamespaceSelector, labels) {
			continue
		}
		for _, pod := range v.pods[name] {
			if peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels) {
				pods = append(pods, pod)
			}
		}
	}
	return pods
}

// portMatches are nft's matches for a rule's ports. Names of ports are looked up in the pods that are
// talked to.
func portMatches(ports []netv1.NetworkPolicyPort, targets []Pod) (matches []string) {
	if len(ports) == 0 {
		return []string{anything}
	}
	for _, port := range ports {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		word := strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			matches = append(matches, "meta l4proto "+word)
		case port.Port.Type == intstr.String:
			matches = append(matches, namedMatches(port.Port.StrVal, protocol, targets)...)
		case port.EndPort != nil:
			matches = append(matches, fmt.Sprintf("%s dport %d-%d", word, port.Port.IntVal, *port.EndPort))
		default:
			matches = append(matches, fmt.Sprintf("%s dport %d", word, port.Port.IntVal))
		}
	}
	return matches
}

// namedMatches match the ports of this name, each with the pod that calls it so.
func namedMatches(name string, protocol corev1.Protocol, targets []Pod) (matches []string) {
	for _, pod := range targets {
		for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
			for _, port := range container.Ports {
				its := port.Protocol
				if its == "" {
					its = corev1.ProtocolTCP
				}
				if port.Name == name && its == protocol {
					word := strings.ToLower(string(protocol))
					matches = append(matches, fmt.Sprintf("ip daddr %s %s dport %d", pod.Address, word, port.ContainerPort))
				}
			}
		}
	}
	return matches
}
