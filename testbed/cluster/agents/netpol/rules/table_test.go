package rules

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func pod(namespace, name, address string, labels map[string]string, ports ...corev1.ContainerPort) Pod {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}
	spec := corev1.PodSpec{Containers: []corev1.Container{{Ports: ports}}}
	return Pod{Pod: &corev1.Pod{ObjectMeta: meta, Spec: spec}, Address: netip.MustParseAddr(address)}
}

// world has two namespaces: a tenant's with a server and a client, and another's with one pod.
func world(t *testing.T, policies ...string) Snapshot {
	t.Helper()
	http := corev1.ContainerPort{Name: "http", ContainerPort: 8080}
	dns := corev1.ContainerPort{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP}
	snapshot := Snapshot{
		Range: netip.MustParsePrefix("10.1.0.0/24"),
		Pods: []Pod{
			pod("tenant", "client", "10.1.0.11", map[string]string{"app": "client"}),
			pod("tenant", "server", "10.1.0.10", map[string]string{"app": "server"}, http, dns),
			pod("other", "client", "10.1.0.20", map[string]string{"app": "client"}),
			pod("other", "elsewhere", "10.9.0.1", map[string]string{"app": "elsewhere"}, http),
		},
		Namespaces: map[string]map[string]string{"tenant": {"team": "a"}, "other": {"team": "b"}},
	}
	for _, spec := range policies {
		policy := &netv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: "policy"}}
		if err := yaml.UnmarshalStrict([]byte(spec), &policy.Spec); err != nil {
			t.Fatal(err)
		}
		snapshot.Policies = append(snapshot.Policies, policy)
	}
	return snapshot
}

// chain is what a chain of the compiled table has, or nil if there is none.
func chain(text, name string) []string {
	_, rest, found := strings.Cut(text, "    chain "+name+" {")
	if !found {
		return nil
	}
	body, _, _ := strings.Cut(rest, "    }\n")
	var lines []string
	for _, line := range strings.Split(body, "\n")[1:] {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

const (
	serverIngress = "ingress-10.1.0.10"
	serverEgress  = "egress-10.1.0.10"
	toServer      = "{podSelector: {matchLabels: {app: server}}, ingress: "
	fromServer    = "{podSelector: {matchLabels: {app: server}}, policyTypes: [Egress], egress: "
)

func TestWhatARuleAllows(t *testing.T) {
	cases := []struct {
		name, policy, chain string
		// allowed are the matches, besides the pod itself.
		allowed []string
	}{
		{"nothing", toServer + "[]}", serverIngress, nil},
		{"everything", toServer + "[{}]}", serverIngress, []string{""}},
		{"pods of its namespace", toServer + "[{from: [{podSelector: {matchLabels: {app: client}}}]}]}", serverIngress,
			[]string{"ip saddr { 10.1.0.11 }"}},
		{"all pods of its namespace", toServer + "[{from: [{podSelector: {}}]}]}", serverIngress,
			[]string{"ip saddr { 10.1.0.10, 10.1.0.11 }"}},
		{"namespaces", toServer + "[{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}", serverIngress,
			[]string{"ip saddr { 10.1.0.20, 10.9.0.1 }"}},
		{"every namespace", toServer + "[{from: [{namespaceSelector: {}}]}]}", serverIngress,
			[]string{"ip saddr { 10.1.0.10, 10.1.0.11, 10.1.0.20, 10.9.0.1 }"}},
		{"pods of namespaces", toServer + "[{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: client}}}]}]}",
			serverIngress, []string{"ip saddr { 10.1.0.20 }"}},
		{"pods or namespaces", toServer + "[{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: client}}}]}]}",
			serverIngress, []string{"ip saddr { 10.1.0.11, 10.1.0.20, 10.9.0.1 }"}},
		{"nobody that is there", toServer + "[{from: [{podSelector: {matchLabels: {app: gone}}}]}]}", serverIngress, nil},
		{"a range", fromServer + "[{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}", serverEgress,
			[]string{"ip daddr 192.0.2.0/24"}},
		{"a range without others", fromServer + "[{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 10.1.0.0/16]}}]}]}", serverEgress,
			[]string{"ip daddr 0.0.0.0/0 ip daddr != 10.0.0.0/8 ip daddr != 10.1.0.0/16"}},
		{"a range of IPv6 only", fromServer + "[{to: [{ipBlock: {cidr: '2001:db8::/32'}}]}]}", serverEgress, nil},
		{"ports", toServer + "[{ports: [{port: 80}, {port: 53, protocol: UDP}, {protocol: SCTP}]}]}", serverIngress,
			[]string{"tcp dport 80", "udp dport 53", "meta l4proto sctp"}},
		{"a range of ports", toServer + "[{ports: [{port: 8000, endPort: 9000}]}]}", serverIngress,
			[]string{"tcp dport 8000-9000"}},
		{"ports of peers", toServer + "[{from: [{podSelector: {matchLabels: {app: client}}}, {ipBlock: {cidr: 192.0.2.1/32}}], ports: [{port: 80}]}]}",
			serverIngress, []string{"ip saddr 192.0.2.1/32 tcp dport 80", "ip saddr { 10.1.0.11 } tcp dport 80"}},
		{"its own port by name", toServer + "[{ports: [{port: http}]}]}", serverIngress,
			[]string{"ip daddr 10.1.0.10 tcp dport 8080"}},
		{"a name of another protocol", toServer + "[{ports: [{port: http, protocol: UDP}]}]}", serverIngress, nil},
		{"others' ports by name", fromServer + "[{to: [{namespaceSelector: {matchLabels: {team: b}}}], ports: [{port: http}]}]}",
			serverEgress, []string{"ip daddr { 10.1.0.20, 10.9.0.1 } ip daddr 10.9.0.1 tcp dport 8080"}},
		{"anyone's port by name", fromServer + "[{ports: [{port: dns, protocol: UDP}]}]}", serverEgress,
			[]string{"ip daddr 10.1.0.10 udp dport 53"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := []string{"ip saddr 10.1.0.10 accept"}
			if c.chain == serverEgress {
				want = []string{"ip daddr 10.1.0.10 accept"}
			}
			for _, match := range c.allowed {
				want = append(want, strings.TrimSpace(match+" accept"))
			}
			want = append(want, "counter drop")
			text := Compile(world(t, c.policy))
			if got := chain(text, c.chain); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			accepts(t, text)
		})
	}
}

// accepts checks that nft reads the table, where it may be asked.
func accepts(t *testing.T, text string) {
	t.Helper()
	if exec.Command("nft", "list", "tables").Run() != nil {
		t.Log("skipped: nft needs root")
		return
	}
	command := exec.Command("nft", "--check", "-f", "-")
	command.Stdin = strings.NewReader(text)
	if said, err := command.CombinedOutput(); err != nil {
		t.Errorf("nft: %v: %s\n%s", err, said, text)
	}
}

func TestWhichDirectionsAreIsolated(t *testing.T) {
	cases := []struct {
		name, policy    string
		ingress, egress bool
	}{
		{"by default ingress", "{podSelector: {matchLabels: {app: server}}}", true, false},
		{"egress if it has rules", "{podSelector: {matchLabels: {app: server}}, egress: [{}]}", true, true},
		{"as it says", "{podSelector: {matchLabels: {app: server}}, policyTypes: [Egress], ingress: [{}]}", false, true},
		{"both", "{podSelector: {}, policyTypes: [Ingress, Egress]}", true, true},
		{"none but who is selected", "{podSelector: {matchLabels: {app: client}}, policyTypes: [Ingress, Egress]}", false, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := Compile(world(t, c.policy))
			if got := chain(text, serverIngress) != nil; got != c.ingress {
				t.Errorf("ingress isolated: %v", got)
			}
			if got := chain(text, serverEgress) != nil; got != c.egress {
				t.Errorf("egress isolated: %v", got)
			}
			if strings.Contains(text, "ingress-10.1.0.20") {
				t.Error("a policy reaches into another namespace")
			}
		})
	}
}

func TestPoliciesAddUp(t *testing.T) {
	text := Compile(world(t, toServer+"[{ports: [{port: 1}]}]}", toServer+"[{ports: [{port: 2}]}]}"))
	want := []string{"ip saddr 10.1.0.10 accept", "tcp dport 1 accept", "tcp dport 2 accept", "counter drop"}
	if got := chain(text, serverIngress); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestPacketsPassTheChainsOfTheirPods(t *testing.T) {
	text := Compile(world(t, "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress, Egress]}"))
	verdicts := "vmap { 10.1.0.10 : goto %s-10.1.0.10, 10.1.0.11 : accept, 10.1.0.20 : accept }"
	for name, want := range map[string]struct{ hook, address, chain string }{
		"egress":  {"forward priority filter + 10", "saddr", "egress"},
		"ingress": {"forward priority filter + 11", "daddr", "ingress"},
		"to-node": {"input priority filter + 10", "saddr", "egress"},
	} {
		lines := []string{
			"type filter hook " + want.hook + "; policy accept;",
			"ct state established,related accept",
			"ip " + want.address + " " + strings.Replace(verdicts, "%s", want.chain, 1),
			"ip " + want.address + " 10.1.0.0/24 counter drop",
		}
		if got := chain(text, name); !slices.Equal(got, lines) {
			t.Errorf("%s: got %q, want %q", name, got, lines)
		}
	}
	accepts(t, text)
}

func TestWithoutPodsAllAreUnknown(t *testing.T) {
	text := Compile(Snapshot{Range: netip.MustParsePrefix("10.1.0.0/24")})
	if got := chain(text, "ingress"); len(got) != 3 || got[2] != "ip daddr 10.1.0.0/24 counter drop" {
		t.Errorf("got %q", got)
	}
	accepts(t, text)
}

func TestTheOrderOfWhatIsKnownChangesNothing(t *testing.T) {
	snapshot := world(t, toServer+"[{from: [{namespaceSelector: {}}]}]}")
	before := Compile(snapshot)
	slices.Reverse(snapshot.Pods)
	if Compile(snapshot) != before {
		t.Error("the same objects gave other rules")
	}
}

func TestAnAddressThatTwoClaimIsOnesOnly(t *testing.T) {
	snapshot := world(t)
	snapshot.Pods = append(snapshot.Pods, pod("tenant", "late", "10.1.0.10", nil))
	accepts(t, Compile(snapshot))
}
