package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Table is the name of the table of family `ip` that has all rules.
const Table = "netpol"

// Compile writes the whole table, as input of `nft -f` that replaces the former one in one transaction.
//
// Packets between pods, and between pods and the outside, are routed by the node and so pass its forward
// hook, after the destination of services has been replaced by that of pods. Each has to pass two chains:
//
//	from pods to others    forward: egress, then ingress
//	from pods to the node  input:   to-node, with the rules of egress
//	from the node to pods  always pass, as Kubernetes has it
//
// A pod that is not known yet is cut off: nobody can tell yet which policies are its.
func Compile(snapshot Snapshot) string {
	v := viewOf(snapshot)
	var text strings.Builder
	fmt.Fprintf(&text, "table ip %s\ndelete table ip %s\ntable ip %s {\n", Table, Table, Table)
	out := v.chains(&text, egress)
	in := v.chains(&text, ingress)
	v.base(&text, "egress", "forward", "filter + 10", egress, out)
	v.base(&text, "ingress", "forward", "filter + 11", ingress, in)
	v.base(&text, "to-node", "input", "filter + 10", egress, out)
	text.WriteString("}\n")
	return text.String()
}

// chains writes a chain for every pod here that is isolated in this direction, and returns the verdict for
// every pod here.
func (v view) chains(text *strings.Builder, d direction) (verdicts []string) {
	here := slices.CompactFunc(slices.Clone(v.Pods), func(a, b Pod) bool { return a.Address == b.Address })
	for _, pod := range here {
		if !v.Range.Contains(pod.Address) {
			continue
		}
		allowed, isolated := v.allowed(pod, d)
		if !isolated {
			verdicts = append(verdicts, fmt.Sprintf("%s : accept", pod.Address))
			continue
		}
		chain := strings.ToLower(string(d.kind)) + "-" + pod.Address.String()
		verdicts = append(verdicts, fmt.Sprintf("%s : goto %s", pod.Address, chain))
		fmt.Fprintf(text, "    chain %s { # %s/%s\n", chain, pod.Namespace, pod.Name)
		for _, match := range allowed {
			fmt.Fprintf(text, "        %s\n", strings.TrimSpace(match+" accept"))
		}
		text.WriteString("        counter drop\n    }\n")
	}
	return verdicts
}

// allowed are the matches for what a pod's policies allow, and whether any isolates it.
func (v view) allowed(pod Pod, d direction) (matches []string, isolated bool) {
	// Nothing keeps a pod from talking to itself, as by way of its own service.
	matches = []string{fmt.Sprintf("ip %s %s", d.peer, pod.Address)}
	for _, policy := range v.policies[pod.Namespace] {
		if !d.isolates(policy) || !selects(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		isolated = true
		for _, rule := range d.rules(policy) {
			matches = append(matches, v.ruleMatches(pod, d, rule)...)
		}
	}
	return matches, isolated
}

// ruleMatches are the pairs of a rule's peers and ports.
func (v view) ruleMatches(pod Pod, d direction, rule rule) (matches []string) {
	peers, targets := v.peerMatches(d, pod.Namespace, rule.peers)
	if d == ingress {
		targets = []Pod{pod}
	}
	for _, peer := range peers {
		for _, port := range portMatches(rule.ports, targets) {
			matches = append(matches, strings.TrimSpace(peer+" "+port))
		}
	}
	return matches
}

// base writes a chain that packets enter by themselves.
func (v view) base(text *strings.Builder, name, hook, priority string, d direction, verdicts []string) {
	fmt.Fprintf(text, "    chain %s {\n", name)
	fmt.Fprintf(text, "        type filter hook %s priority %s; policy accept;\n", hook, priority)
	text.WriteString("        ct state established,related accept\n")
	if len(verdicts) > 0 {
		fmt.Fprintf(text, "        ip %s vmap { %s }\n", d.self, strings.Join(verdicts, ", "))
	}
	fmt.Fprintf(text, "        ip %s %s counter drop\n    }\n", d.self, v.Range)
}

// addresses are those of pods, each once and in order.
func addresses(pods []Pod) (list []string) {
	var all []netip.Addr
	for _, pod := range pods {
		all = append(all, pod.Address)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	for _, address := range slices.Compact(all) {
		list = append(list, address.String())
	}
	return list
}
