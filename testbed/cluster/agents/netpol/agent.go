package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	netlisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"

	"apocryph/testbed/cluster/agents/netpol/rules"
)

// retry is when to try again what nft refused.
const retry = time.Second

// agent keeps the node's rules as the cluster's objects are.
type agent struct {
	range_     netip.Prefix
	factory    informers.SharedInformerFactory
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   netlisters.NetworkPolicyLister
	// changed holds at most one word that something has.
	changed chan struct{}

	// mutex guards what follows, and lets one set of rules be made at a time.
	mutex sync.Mutex
	// announced are addresses of pods that their status does not tell yet.
	announced map[podKey]netip.Addr
	applied   string
}

type podKey struct{ namespace, name string }

func newAgent(client kubernetes.Interface, range_ netip.Prefix) *agent {
	factory := informers.NewSharedInformerFactory(client, 0)
	return &agent{
		range_:     range_,
		factory:    factory,
		pods:       factory.Core().V1().Pods().Lister(),
		namespaces: factory.Core().V1().Namespaces().Lister(),
		policies:   factory.Networking().V1().NetworkPolicies().Lister(),
		changed:    make(chan struct{}, 1),
		announced:  map[podKey]netip.Addr{},
	}
}

// watch begins to follow the cluster's objects, and returns when all are known: earlier rules would be wrong.
func (a *agent) watch(ctx context.Context) error {
	notice := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { a.notice() },
		UpdateFunc: func(_, _ any) { a.notice() },
		DeleteFunc: func(any) { a.notice() },
	}
	core, networking := a.factory.Core().V1(), a.factory.Networking().V1()
	for _, informer := range []cache.SharedIndexInformer{
		core.Pods().Informer(), core.Namespaces().Informer(), networking.NetworkPolicies().Informer(),
	} {
		if _, err := informer.AddEventHandler(notice); err != nil {
			return err
		}
	}
	a.factory.Start(ctx.Done())
	for kind, known := range a.factory.WaitForCacheSync(ctx.Done()) {
		if !known {
			return fmt.Errorf("ended before every %v was known", kind)
		}
	}
	return nil
}

func (a *agent) notice() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// keep applies the rules after every change.
func (a *agent) keep(ctx context.Context) {
	a.notice()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.changed:
		}
		if err := a.apply(); err != nil {
			log.Printf("the rules stay as they were: %v", err)
			time.AfterFunc(retry, a.notice)
		}
	}
}

// apply makes the rules and puts them in force unless they are.
func (a *agent) apply() error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	snapshot, err := a.snapshot()
	if err != nil {
		return err
	}
	text := rules.Compile(snapshot)
	if text == a.applied {
		return nil
	}
	command := exec.Command("nft", "-f", "-")
	command.Stdin = strings.NewReader(text)
	if said, err := command.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(said)), errors.New(text))
	}
	a.applied = text
	return nil
}

func (a *agent) snapshot() (snapshot rules.Snapshot, err error) {
	snapshot = rules.Snapshot{Range: a.range_, Namespaces: map[string]map[string]string{}}
	pods, err := a.pods.List(labels.Everything())
	if err != nil {
		return snapshot, err
	}
	a.forget(pods)
	for _, pod := range pods {
		if address, has := a.address(pod); has {
			snapshot.Pods = append(snapshot.Pods, rules.Pod{Pod: pod, Address: address})
		}
	}
	namespaces, err := a.namespaces.List(labels.Everything())
	if err != nil {
		return snapshot, err
	}
	for _, namespace := range namespaces {
		snapshot.Namespaces[namespace.Name] = namespace.Labels
	}
	snapshot.Policies, err = a.policies.List(labels.Everything())
	return snapshot, err
}

// address is a pod's own: as announced when its network was made, else as its status tells. One that has
// ended, or that uses the node's, has none.
func (a *agent) address(pod *corev1.Pod) (netip.Addr, bool) {
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if ended || pod.Spec.HostNetwork {
		return netip.Addr{}, false
	}
	if address, announced := a.announced[podKey{pod.Namespace, pod.Name}]; announced {
		return address, true
	}
	address, err := netip.ParseAddr(pod.Status.PodIP)
	return address, err == nil && address.Is4()
}

// forget drops what was announced of pods that are no more.
func (a *agent) forget(pods []*corev1.Pod) {
	there := map[podKey]bool{}
	for _, pod := range pods {
		there[podKey{pod.Namespace, pod.Name}] = true
	}
	for key := range a.announced {
		if !there[key] {
			delete(a.announced, key)
		}
	}
}
