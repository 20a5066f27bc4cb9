// netpol enforces the NetworkPolicies of networking.k8s.io/v1 on one node, by nftables. Every change of
// pods, namespaces or policies replaces one table in one transaction. While it does not run, its rules stay.
package main

import (
	"context"
	"flag"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	pods := flag.String("pods", "", "the range of this node's pods")
	socket := flag.String("socket", "/run/netpol.sock", "where the CNI plugin asks")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, *kubeconfig, *pods, *socket); err != nil {
		log.Fatalf("netpol: %v", err)
	}
}

func run(ctx context.Context, kubeconfig, pods, socket string) error {
	range_, err := netip.ParsePrefix(pods)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	agent := newAgent(client, range_)
	if err := agent.watch(ctx); err != nil {
		return err
	}
	listener, err := listen(socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	go agent.serve(ctx, listener)
	agent.keep(ctx)
	return nil
}
