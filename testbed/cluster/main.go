// The driver of the test clusters: `cluster help` tells what it does.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"apocryph/testbed/cluster/build"
	"apocryph/testbed/cluster/host"
	"apocryph/testbed/cluster/layout"
	"apocryph/testbed/cluster/node"
)

const help = `cluster up                            brings the cluster up, and tells its KUBECONFIG
cluster down                          takes it away without a trace
cluster status                        how it and its components are
cluster env                           its KUBECONFIG and addresses, as lines KEY=value
cluster stop|start|restart COMPONENT  kills a component and leaves it so, or starts it
cluster registry HOST:PORT            lets the node pull from a registry by plain HTTP
cluster import FILE                   gives the node an image, as an OCI or Docker archive
cluster enter PROGRAM ARGUMENT...     runs a program in the node
cluster build PROGRAM...              builds programs, those of a node or others, and tells where they are
cluster decrypt FILE                  gives the node a private key for encrypted images
cluster keys HOST:PORT                has the node ask there for the keys of Apocryph's images

CLUSTER=name takes another cluster than ` + "`default`."

func main() {
	name := flag.String("name", "default", "the cluster")
	sources := flag.String("sources", "", "the folder of the driver's sources")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, help) }
	flag.Parse()
	cluster, err := layout.Named(*name)
	if err == nil {
		err = run(cluster, *sources, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(cluster layout.Cluster, sources string, words []string) error {
	if len(words) == 0 {
		return errors.New("what? `cluster help` tells")
	}
	builder := build.Builder{Sources: sources, Say: func(line string) { fmt.Fprintln(os.Stderr, line) }}
	verb, rest := words[0], words[1:]
	switch {
	case verb == "help":
		fmt.Println(help)
		return nil
	case verb == "up" && len(rest) == 0:
		return up(cluster, builder)
	case verb == "down" && len(rest) == 0:
		return host.Down(cluster)
	case verb == "status" && len(rest) == 0:
		return status(cluster)
	case verb == "env" && len(rest) == 0:
		return environment(cluster)
	case verb == "registry" && len(rest) == 1:
		return host.Trust(cluster, rest[0])
	case verb == "import" && len(rest) == 1:
		return host.Import(cluster, rest[0])
	case verb == "decrypt" && len(rest) == 1:
		return host.Decrypt(cluster, rest[0])
	case verb == "keys" && len(rest) == 1:
		return host.Keys(cluster, rest[0])
	case verb == "enter" && len(rest) > 0:
		return host.Enter(cluster, rest)
	case verb == "build" && len(rest) == 0:
		return programs(builder, node.Programs)
	case verb == "build":
		return programs(builder, rest)
	case (verb == "stop" || verb == "start" || verb == "restart") && len(rest) == 1:
		return host.Control(cluster, rest[0], verb)
	case verb == "node":
		return node.First(cluster)
	case verb == "supervise":
		return node.Supervise(cluster)
	}
	return fmt.Errorf("no `%s` like this: `cluster help` tells", verb)
}

func up(cluster layout.Cluster, builder build.Builder) error {
	if err := host.Up(cluster, builder); err != nil {
		return err
	}
	return environment(cluster)
}

func programs(builder build.Builder, names []string) error {
	for _, name := range names {
		path, err := builder.Build(name)
		if err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}

func status(cluster layout.Cluster) error {
	status, err := host.Status(cluster)
	if err != nil {
		return err
	}
	switch {
	case status.Ready:
		fmt.Println("ready")
	case status.Failure != "":
		fmt.Println("failed:", status.Failure)
	default:
		fmt.Println("not ready yet")
	}
	for _, component := range status.Components {
		state := "stopped"
		if component.Process != 0 {
			state = fmt.Sprintf("process %d of the node", component.Process)
		}
		fmt.Printf("%-24s %s, started %d times\n", component.Name, state, component.Starts)
	}
	return nil
}

func environment(cluster layout.Cluster) error {
	network, err := layout.ReadNetwork(cluster.Folder)
	if err != nil {
		return fmt.Errorf("cluster %s does not run: make cluster", cluster.Name)
	}
	fmt.Printf("KUBECONFIG=%s\nKUBECTL=%s\n", cluster.Kubeconfig(), cluster.Path("bin", "kubectl"))
	fmt.Printf("CLUSTER_HOST_ADDRESS=%s\nCLUSTER_NODE_ADDRESS=%s\n", network.Host, network.Node)
	fmt.Printf("CLUSTER_PODS=%s\nCLUSTER_SERVICES=%s\n", network.Pods, network.Services)
	return nil
}
