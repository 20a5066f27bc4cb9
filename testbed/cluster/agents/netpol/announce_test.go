package main

import (
	"context"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// knowing is an agent that has heard of these pods.
func knowing(t *testing.T, pods ...*corev1.Pod) *agent {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	agent := newAgent(client, netip.MustParsePrefix("10.1.0.0/24"))
	known := agent.factory.Core().V1().Pods().Informer().GetIndexer()
	for _, pod := range pods {
		if err := known.Add(pod); err != nil {
			t.Fatal(err)
		}
	}
	return agent
}

func named(name, address string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: name},
		Status:     corev1.PodStatus{PodIP: address},
	}
}

func addressesOf(t *testing.T, agent *agent) map[string]string {
	t.Helper()
	snapshot, err := agent.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, pod := range snapshot.Pods {
		found[pod.Name] = pod.Address.String()
	}
	return found
}

func TestAnAnnouncedAddressCountsBeforeTheStatusTellsIt(t *testing.T) {
	agent := knowing(t, named("new", ""), named("moved", "10.1.0.2"), named("old", "10.1.0.3"))
	agent.remember(podKey{"tenant", "new"}, netip.MustParseAddr("10.1.0.7"))
	agent.remember(podKey{"tenant", "moved"}, netip.MustParseAddr("10.1.0.8"))
	found := addressesOf(t, agent)
	if found["new"] != "10.1.0.7" || found["moved"] != "10.1.0.8" || found["old"] != "10.1.0.3" {
		t.Errorf("got %v", found)
	}
}

func TestWhatWasAnnouncedOfAPodThatIsGoneIsForgotten(t *testing.T) {
	agent := knowing(t)
	agent.remember(podKey{"tenant", "gone"}, netip.MustParseAddr("10.1.0.7"))
	if found := addressesOf(t, agent); len(found) != 0 || len(agent.announced) != 0 {
		t.Errorf("got %v and %v", found, agent.announced)
	}
}

func TestPodsThatEndedOrUseTheNodesNetworkHaveNoAddress(t *testing.T) {
	ended, host := named("ended", "10.1.0.2"), named("host", "10.243.0.2")
	ended.Status.Phase = corev1.PodSucceeded
	host.Spec.HostNetwork = true
	if found := addressesOf(t, knowing(t, ended, host)); len(found) != 0 {
		t.Errorf("got %v", found)
	}
}

func TestAPodThatNobodyKnowsGetsNoRules(t *testing.T) {
	agent := knowing(t)
	limit, cancel := context.WithCancel(t.Context())
	cancel()
	if err := agent.announce(limit, announcement{Namespace: "tenant", Name: "unknown", Address: "10.1.0.7"}); err == nil {
		t.Error("it was announced")
	}
	if len(agent.announced) != 0 {
		t.Errorf("remembered %v", agent.announced)
	}
}
