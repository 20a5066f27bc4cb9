package live

import (
	"strings"
	"testing"
)

// tries is a line of shell that at once tries to reach an address some times, and writes down how it went.
func tries(address string) string {
	try := "if timeout 1 wget -q -O /dev/null http://" + address + "/; then echo reached; else echo refused; fi"
	return "exec 2> /dev/null; for i in 1 2 3; do " + try + "; done; echo done; " + idles
}

// outcome is what a pod with such a line wrote.
func outcome(t *testing.T, namespace, pod string) string {
	t.Helper()
	var said string
	eventually(t, pod+" to be done", func() bool {
		said, _ = tryKubectl("", "logs", "-n", namespace, pod)
		return strings.HasSuffix(said, "done")
	})
	return strings.Join(strings.Fields(said), " ")
}

func TestRulesAreInForceBeforeAPodRuns(t *testing.T) {
	s := newStreet(t)
	s.policy(t, "egress", "{podSelector: {matchLabels: {app: locked}}, policyTypes: [Egress]}")
	s.policy(t, "ingress", "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [welcome, locked]}]}}]}]}")
	s.reach(t)
	apply(t, pod(s.a, "locked", tries(s.server)), pod(s.a, "welcome", tries(s.server)))
	if said := outcome(t, s.a, "locked"); said != "refused refused refused done" {
		t.Errorf("an isolated pod: %s", said)
	}
	if said := outcome(t, s.a, "welcome"); said != "reached reached reached done" {
		t.Errorf("a pod that is allowed: %s", said)
	}
	kubectl(t, "delete", "pod", "-n", s.a, "welcome")
	kubectl(t, "label", "pod", "-n", s.a, "stranger", "app=welcome", "--overwrite")
	eventually(t, "the label to count", func() bool { return fetch(s.a, "stranger", s.server) })
}

func TestWithoutTheAgentRulesStayAndNoPodGetsANetwork(t *testing.T) {
	s := newStreet(t)
	s.policy(t, "ingress", "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}]}]}")
	s.reach(t, "friend", "friend by service")

	cluster(t, "stop", "netpol")
	t.Cleanup(func() { cluster(t, "start", "netpol") })
	s.reach(t, "friend", "friend by service")
	apply(t, pod(s.a, "late", tries(s.server)))
	eventually(t, "the reason why a pod has no network", func() bool {
		events, err := tryKubectl("", "get", "events", "-n", s.a, "--field-selector=involvedObject.name=late", "-o", "jsonpath={.items[*].message}")
		return err == nil && strings.Contains(events, "netpol: the agent is away")
	})
	cluster(t, "start", "netpol")
	if said := outcome(t, s.a, "late"); said != "refused refused refused done" {
		t.Errorf("a pod that began while the agent did: %s", said)
	}
	s.reach(t, "friend", "friend by service")
}
