package live

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// street has two tenants: a's server with a friend and a stranger, and a neighbour of another namespace.
type street struct{ a, b, server, service string }

func newStreet(t *testing.T) street {
	t.Helper()
	s := street{a: strings.ToLower(t.Name()) + "-a", b: strings.ToLower(t.Name()) + "-b"}
	namespace(t, s.a, "team: a")
	namespace(t, s.b, "team: b")
	service := fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {namespace: %s, name: server}, "+
		"spec: {selector: {app: server}, ports: [{port: 80, targetPort: http}]}}", s.a)
	apply(t, service, pod(s.a, "server", "nc -ll -p 9090 -e cat & "+serves),
		pod(s.a, "friend", idles), pod(s.a, "stranger", idles), pod(s.b, "neighbour", idles))
	awaitReady(t, s.a, "server", "friend", "stranger")
	awaitReady(t, s.b, "neighbour")
	s.server = addressOf(t, s.a, "server") + ":8080"
	s.service = kubectl(t, "get", "-n", s.a, "service", "server", "-o", "jsonpath={.spec.clusterIP}")
	return s
}

// policy puts one in force in a's namespace, instead of the former of the same name.
func (s street) policy(t *testing.T, name, spec string) {
	t.Helper()
	apply(t, fmt.Sprintf("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: %s, name: %s}, spec: %s}",
		s.a, name, spec))
}

func (s street) withdraw(t *testing.T, name string) {
	t.Helper()
	kubectl(t, "delete", "-n", s.a, "networkpolicy", name)
}

// who are all that may want to talk to the server, and how they try.
func (s street) who() map[string]func() bool {
	return map[string]func() bool{
		"friend":            func() bool { return fetch(s.a, "friend", s.server) },
		"friend by service": func() bool { return fetch(s.a, "friend", s.service) },
		"stranger":          func() bool { return fetch(s.a, "stranger", s.server) },
		"neighbour":         func() bool { return fetch(s.b, "neighbour", s.server) },
		"server by service": func() bool { return fetch(s.a, "server", s.service) },
		"host":              func() bool { return fetchFromHost(s.server) },
		"host by service":   func() bool { return fetchFromHost(s.service) },
		"node":              func() bool { return fetchFromNode(s.server) },
	}
}

// reach waits until exactly these reach the server; the node and the server itself always do.
func (s street) reach(t *testing.T, allowed ...string) {
	t.Helper()
	want := map[string]bool{"node": true, "server by service": true}
	for _, name := range allowed {
		want[name] = true
	}
	var waiting sync.WaitGroup
	for name, try := range s.who() {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			if !within(time.Minute, func() bool { return try() == want[name] }) {
				t.Errorf("%s reaches the server: %v", name, !want[name])
			}
		}()
	}
	waiting.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func TestIngress(t *testing.T) {
	s := newStreet(t)
	everyone := []string{"friend", "friend by service", "stranger", "neighbour", "host", "host by service"}
	s.reach(t, everyone...)
	to := func(ingress string) {
		s.policy(t, "ingress", "{podSelector: {matchLabels: {app: server}}, ingress: "+ingress+"}")
	}

	to("[]")
	s.reach(t)
	to("[{from: [{podSelector: {matchLabels: {app: friend}}}]}]")
	s.reach(t, "friend", "friend by service")
	to("[{from: [{podSelector: {matchLabels: {app: friend}}}], ports: [{port: http}]}]")
	s.reach(t, "friend", "friend by service")
	to("[{from: [{podSelector: {matchLabels: {app: friend}}}], ports: [{port: 80}]}]")
	s.reach(t)
	to("[{ports: [{port: 8000, endPort: 8100}]}]")
	s.reach(t, everyone...)
	to("[{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]")
	s.reach(t, "neighbour")
	to("[{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: friend}}}]}]")
	s.reach(t)
	to("[{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: friend}}}]}]")
	s.reach(t, "neighbour", "friend", "friend by service")
	to(fmt.Sprintf("[{from: [{ipBlock: {cidr: %s/32}}]}]", environment["CLUSTER_HOST_ADDRESS"]))
	s.reach(t, "host", "host by service")
	to(fmt.Sprintf("[{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [%s]}}]}]", environment["CLUSTER_PODS"]))
	s.reach(t, "host", "host by service")
	kubectl(t, "label", "namespace", s.b, "team=c", "--overwrite")
	to("[{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]")
	s.reach(t)
	s.withdraw(t, "ingress")
	s.reach(t, everyone...)
}

func TestEgress(t *testing.T) {
	s := newStreet(t)
	from := func(egress string) {
		s.policy(t, "egress", "{podSelector: {matchLabels: {app: friend}}, policyTypes: [Egress], egress: "+egress+"}")
	}
	others := []string{"stranger", "neighbour", "host", "host by service"}
	from("[]")
	s.reach(t, others...)
	// Nor the node's own addresses: the API server's, by its service and directly, and the kubelet's.
	node := environment["CLUSTER_NODE_ADDRESS"]
	for _, target := range []string{"kubernetes.default 443", node + " 6443", node + " 10250"} {
		if s.connects("friend", target) || !s.connects("stranger", target) {
			t.Errorf("%s: reached by the isolated pod, or by none", target)
		}
	}
	from("[{to: [{podSelector: {matchLabels: {app: server}}}], ports: [{port: http}]}]")
	s.reach(t, append(others, "friend", "friend by service")...)
	from(fmt.Sprintf("[{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [%s]}}]}]", environment["CLUSTER_PODS"]))
	s.reach(t, others...)
	eventually(t, "the friend reaches the API server", func() bool { return s.connects("friend", node+" 6443") })
	// Both ends have to agree.
	from("[{}]")
	s.policy(t, "ingress", "{podSelector: {matchLabels: {app: server}}}")
	s.reach(t)
}

// connects tells whether a pod of a can open a connection, to `host port`.
func (s street) connects(pod, target string) bool {
	_, err := tryKubectl("", "exec", "-n", s.a, pod, "--", "sh", "-c", "timeout 1 nc "+target+" < /dev/null")
	return err == nil
}

func TestConnectionsThatAreOpenStayOpen(t *testing.T) {
	s := newStreet(t)
	server := addressOf(t, s.a, "server")
	// It says the second word when it is told to.
	talk := "mkfifo /tmp/said; nc " + server + " 9090 < /tmp/said > /tmp/heard & exec 3> /tmp/said; echo one >&3; " +
		"until [ -e /tmp/go ]; do usleep 10000; done; echo two >&3; sleep 100000"
	apply(t, pod(s.a, "talker", talk))
	awaitReady(t, s.a, "talker")
	hears := func(word string) func() bool {
		return func() bool {
			heard, err := tryKubectl("", "exec", "-n", s.a, "talker", "--", "cat", "/tmp/heard")
			return err == nil && strings.Contains(heard, word)
		}
	}
	eventually(t, "an answer", hears("one"))
	s.policy(t, "ingress", "{podSelector: {matchLabels: {app: server}}}")
	s.reach(t)
	kubectl(t, "exec", "-n", s.a, "talker", "--", "touch", "/tmp/go")
	eventually(t, "an answer over the open connection", hears("two"))
}
