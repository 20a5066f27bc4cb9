// volumes provides PersistentVolumes on one node. Each is a file system of its own, as large as was asked
// for, in a file; so it can be full while the node's disk is not.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	node := flag.String("node", "", "the node's name")
	folder := flag.String("folder", "", "where the volumes are")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, *kubeconfig, *node, *folder); err != nil {
		log.Fatalf("volumes: %v", err)
	}
}

func run(ctx context.Context, kubeconfig, node, folder string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	provisioner := newProvisioner(client, node, disks{folder})
	return provisioner.run(ctx)
}
