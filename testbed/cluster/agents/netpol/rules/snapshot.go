// Package rules turns NetworkPolicies into rules of nftables, for IPv4.
package rules

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Pod is one that has an address of its own.
type Pod struct {
	*corev1.Pod
	Address netip.Addr
}

// Snapshot is everything that the rules depend on, at one moment.
type Snapshot struct {
	// Range has the addresses of the pods whose traffic passes here.
	Range netip.Prefix
	// Pods are all of the cluster, also those elsewhere.
	Pods []Pod
	// Namespaces are the labels of every namespace.
	Namespaces map[string]map[string]string
	Policies   []*netv1.NetworkPolicy
}

// view is a snapshot in order, with the policies and pods of each namespace at hand.
type view struct {
	Snapshot
	policies map[string][]*netv1.NetworkPolicy
	pods     map[string][]Pod
}

func viewOf(snapshot Snapshot) view {
	v := view{Snapshot: snapshot, policies: map[string][]*netv1.NetworkPolicy{}, pods: map[string][]Pod{}}
	v.Pods = slices.Clone(v.Pods)
	slices.SortFunc(v.Pods, func(a, b Pod) int { return a.Address.Compare(b.Address) })
	v.Policies = slices.Clone(v.Policies)
	slices.SortFunc(v.Policies, func(a, b *netv1.NetworkPolicy) int { return cmp.Compare(a.Name, b.Name) })
	for _, policy := range v.Policies {
		v.policies[policy.Namespace] = append(v.policies[policy.Namespace], policy)
	}
	for _, pod := range v.Pods {
		v.pods[pod.Namespace] = append(v.pods[pod.Namespace], pod)
	}
	return v
}

// selects tells whether a selector fits labels. One that is not well-formed fits none: the API server
// accepts no such.
func selects(selector *metav1.LabelSelector, of map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(of))
}

// direction is one of the two in which a policy may isolate pods.
type direction struct {
	kind netv1.PolicyType
	// peer and self are nft's names for the addresses of the other side and of the pod.
	peer, self string
}

var (
	ingress = direction{kind: netv1.PolicyTypeIngress, peer: "saddr", self: "daddr"}
	egress  = direction{kind: netv1.PolicyTypeEgress, peer: "daddr", self: "saddr"}
)

// isolates tells whether a policy is about this direction. One that does not say is about ingress, and
// about egress if it has rules for that.
func (d direction) isolates(policy *netv1.NetworkPolicy) bool {
	if len(policy.Spec.PolicyTypes) > 0 {
		return slices.Contains(policy.Spec.PolicyTypes, d.kind)
	}
	return d.kind == netv1.PolicyTypeIngress || len(policy.Spec.Egress) > 0
}

// rule allows ports of peers. None of either means all.
type rule struct {
	peers []netv1.NetworkPolicyPeer
	ports []netv1.NetworkPolicyPort
}

func (d direction) rules(policy *netv1.NetworkPolicy) (rules []rule) {
	if d.kind == netv1.PolicyTypeIngress {
		for _, r := range policy.Spec.Ingress {
			rules = append(rules, rule{r.From, r.Ports})
		}
		return rules
	}
	for _, r := range policy.Spec.Egress {
		rules = append(rules, rule{r.To, r.Ports})
	}
	return rules
}
